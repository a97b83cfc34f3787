"""How far to believe a model that has just been trained, by its validation images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor

from arcvit.core.files import atomic_path
from arcvit.core.task import Calibration
from arcvit.core.thresholds import choose_thresholds
from arcvit.data.pixels.augment import ToInput
from arcvit.engine.batches import Batches, Prepare
from arcvit.engine.calibration import COVERAGE, class_means, likeness, temperature, threshold
from arcvit.engine.evaluate import WHOLE_WEIGHTS, MultilabelEvaluation, Outcome
from arcvit.engine.features import FeatureBank, head_features
from arcvit.engine.learner import Learner
from arcvit.recipe.prepare import Workplace


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What calibration needs of images that weren't trained on.

    Attributes:
        logits: (N, K).
        labels: (N,).
        scores: how much each is like the class it is most like, (N,).
    """

    logits: Tensor
    labels: Tensor
    scores: Tensor

    def write(self, file: Path) -> None:
        """Keep it in a file, atomically."""
        with atomic_path(file) as partial:
            save_file(
                {"logits": self.logits, "labels": self.labels, "scores": self.scores}, partial
            )

    @classmethod
    def read(cls, file: Path) -> "HeldOut | None":
        """What was kept; None where there is no file."""
        return cls(**load_file(file)) if file.is_file() else None

    @classmethod
    def of(cls, parts: Sequence["HeldOut | None"]) -> "HeldOut | None":
        """Several together; None where one is missing."""
        there = [part for part in parts if part is not None]
        if len(there) < len(parts):
            return None
        return cls(
            logits=torch.cat([part.logits for part in there]),
            labels=torch.cat([part.labels for part in there]),
            scores=torch.cat([part.scores for part in there]),
        )


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What is kept with the adapter; nothing of a model without validation images.

    Attributes:
        calibration: how far to believe the outputs.
        means: the classes' mean features, (K, d), as precise as they are kept.
        held_out: what the calibration was found from.
    """

    calibration: Calibration | None = None
    means: Tensor | None = None
    held_out: HeldOut | None = None

    @property
    def temperature(self) -> float:
        """What logits are divided by before softmax or sigmoid."""
        return 1.0 if self.calibration is None else self.calibration.temperature


def calibrate(
    work: Workplace,
    learner: Learner,
    accelerator: Accelerator,
    *,
    out_of_fold: HeldOut | None = None,
) -> Calibrated:
    """Pass once over training and validation images.

    Args:
        work: the trained model and its images.
        learner: what was trained: its features are taken where they were computed.
        accelerator: device and precision.
        out_of_fold: what the models of the folds say of the images they left out, in place of
            validation images.
    """
    measured = learner.val is not None or out_of_fold is not None
    if not measured or accelerator.distributed_type not in WHOLE_WEIGHTS:
        return Calibrated()

    def features(batches: Batches, prepare: Prepare) -> FeatureBank:
        if isinstance(batches, FeatureBank):
            return batches
        return head_features(work.model, work.head, batches, prepare, accelerator)

    centre = ToInput.of(work.training_prep).to(accelerator.device).eval()
    train = features(learner.train, centre)
    classes = len(work.task.classes)
    means = class_means(train.features.flatten(1), train.labels, classes).half().float()
    held_out = out_of_fold
    if held_out is None:
        assert learner.val is not None
        val = features(learner.val, work.to_input)
        with torch.inference_mode():
            logits = work.head(val.features.to(accelerator.device)).float().cpu()
        scores = likeness(val.features.flatten(1), means)
        held_out = HeldOut(logits=logits.clone(), labels=val.labels, scores=scores)
    return Calibrated(
        calibration=Calibration(
            temperature=temperature(held_out.logits, held_out.labels),
            images=len(held_out.labels),
            score="cosine",
            threshold=threshold(held_out.scores),
            coverage=COVERAGE,
        ),
        means=means,
        held_out=held_out,
    )


def thresholds_of(outcomes: Mapping[str, Outcome], temperature: float) -> np.ndarray | None:
    """From which calibrated probability on a label is given, (K,), by the validation images.

    None where images have one label, or none were measured.

    Args:
        outcomes: what came out, by split.
        temperature: what logits are divided by.
    """
    val = outcomes.get("val")
    if not isinstance(val, MultilabelEvaluation):
        return None
    return choose_thresholds(val.calibrated(temperature), val.labels.numpy())

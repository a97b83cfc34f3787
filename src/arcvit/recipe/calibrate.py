"""How far to believe a model that has just been trained, by its validation images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

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
class Calibrated:
    """What is kept with the adapter; nothing of a model without validation images.

    Attributes:
        calibration: how far to believe the outputs.
        means: the classes' mean features, (K, d), as precise as they are kept.
    """

    calibration: Calibration | None = None
    means: Tensor | None = None

    @property
    def temperature(self) -> float:
        """What logits are divided by before softmax or sigmoid."""
        return 1.0 if self.calibration is None else self.calibration.temperature


def calibrate(work: Workplace, learner: Learner, accelerator: Accelerator) -> Calibrated:
    """Pass once over training and validation images.

    Args:
        work: the trained model and its images.
        learner: what was trained: its features are taken where they were computed.
        accelerator: device and precision.
    """
    if learner.val is None or accelerator.distributed_type not in WHOLE_WEIGHTS:
        return Calibrated()

    def features(batches: Batches, prepare: Prepare) -> FeatureBank:
        if isinstance(batches, FeatureBank):
            return batches
        return head_features(work.model, work.head, batches, prepare, accelerator)

    centre = ToInput.of(work.training_prep).to(accelerator.device).eval()
    train, val = features(learner.train, centre), features(learner.val, work.to_input)
    with torch.inference_mode():
        logits = work.head(val.features.to(accelerator.device)).float().cpu()
    classes = len(work.task.classes)
    means = class_means(train.features.flatten(1), train.labels, classes).half().float()
    scores = likeness(val.features.flatten(1), means)
    return Calibrated(
        calibration=Calibration(
            temperature=temperature(logits, val.labels),
            images=len(val),
            score="cosine",
            threshold=threshold(scores),
            coverage=COVERAGE,
        ),
        means=means,
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

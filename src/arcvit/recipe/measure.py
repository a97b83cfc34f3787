"""Measure a trained model on labelled images: a split of its run's, or others."""

import dataclasses
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from arcvit.core.errors import UserError
from arcvit.core.launch import processes
from arcvit.core.task import AdapterTask
from arcvit.data.config import DataConfig
from arcvit.data.contents import content_hashes
from arcvit.data.pixels.augment import ToInput
from arcvit.engine.by_group import accuracy_by_group
from arcvit.engine.class_token import class_token_alone
from arcvit.engine.config import EngineConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.evaluate import Evaluation, Outcome, evaluate, majority_share
from arcvit.recipe.adapter import LoadedAdapter
from arcvit.recipe.images import decode_split
from arcvit.recipe.load import LoadedRun
from arcvit.recipe.measured import ALL, open_measured
from arcvit.recipe.resume import trained_on
from arcvit.recipe.run import Run

_FIXED = ("preset", "augment", "fit_on")
_one_at_a_time = threading.Lock()
"""accelerate has one state for the whole process."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What came out.

    Attributes:
        split: the split measured on; all: every image.
        images: number of images.
        classes: number of classes that they are of.
        metrics: what came out, by name, as fractions in [0, 1]; of several labels an image mAP,
            macro_f1, micro_f1 and exact_match. None of what there are no labels for.
        accuracy: top-1; None with several labels an image.
        balanced_accuracy: mean of the classes' accuracies; None with several labels an image.
        majority_share: share of the most frequent class; None with several labels an image.
        loss: mean cross-entropy, of several labels an image binary.
        trained_on: number of the images that were trained on; None where that isn't known.
        left_out: images of classes that the model doesn't know.
        unreadable: images that can't be read.
        group_accuracy: top-1 of groups of images; None without groups, and with several labels.
        groups: number of groups; None without.
    """

    split: str
    images: int
    classes: int
    metrics: dict[str, float | None]
    accuracy: float | None
    balanced_accuracy: float | None
    majority_share: float | None
    loss: float
    trained_on: int | None
    left_out: int
    unreadable: int
    group_accuracy: float | None = None
    groups: int | None = None


def measure(
    loaded: LoadedAdapter,
    model: nn.Module,
    given: Mapping[str, Any],
    *,
    split: str | None = None,
    ignore_unknown: bool = False,
) -> Measurement:
    """Measure on labelled images; classes go by name.

    Args:
        loaded: what is measured.
        model: its model, which may be folded, on the device to use.
        given: fields of ``DataConfig`` that differ from the run's; path names other images.
        split: train, val, test or all; None: test of the run's own data, else all.
        ignore_unknown: leave out images of classes that the model doesn't know.

    Raises:
        UserError: the images can't be opened or read, there are unknown classes, or a setting is
            the model's own.
    """
    data, is_own = _data(loaded, given)
    prep = loaded.preprocessing
    how = dataclasses.asdict(data.decoding())
    asked = {name: how[name] for name in ("orientation", "max_pixels") if name in given}
    prep = dataclasses.replace(prep, **asked)
    split = split or ("test" if is_own else ALL)
    kind = loaded.task.kind
    measured = open_measured(data, loaded.labels, split, kind=kind, ignore_unknown=ignore_unknown)
    images = decode_split(measured.split, prep, data, classes=len(loaded.labels))
    recipe = loaded.recipe if isinstance(loaded, LoadedRun) else None
    engine = EngineConfig() if recipe is None else recipe.engine
    if processes() == 1:  # of several each has a device of its own
        device: Any = next(model.parameters()).device.type
        engine = dataclasses.replace(engine, device=device)
    with _one_at_a_time:
        accelerator = make_accelerator(
            engine,
            0 if recipe is None else recipe.seed,
            backbone=None if recipe is None else recipe.backbone,
            image_size=None if recipe is None else recipe.image_size,
        )
        with class_token_alone(model):
            outcome = evaluate(
                model.to(accelerator.device),
                images,
                ToInput.of(prep).to(accelerator.device).eval(),
                accelerator,
                keep_probabilities=bool(measured.task.groups),
            )
    known = trained_on(Run(loaded.recipe, loaded.folder)) if isinstance(loaded, LoadedRun) else None
    groups = accuracy_by_group(outcome, measured.task, images)
    metrics = _metrics(outcome, loaded.task)
    return Measurement(
        split=split,
        images=len(images),
        classes=len({label for own in measured.split.label_sets for label in own}),
        metrics=metrics,
        accuracy=metrics.get("accuracy"),
        balanced_accuracy=metrics.get("balanced_accuracy"),
        majority_share=majority_share(outcome.labels) if isinstance(outcome, Evaluation) else None,
        loss=outcome.loss,
        trained_on=None
        if known is None
        else sum(content in known for content in content_hashes(images.paths)),
        left_out=measured.left_out,
        unreadable=len(images.skipped),
        group_accuracy=None if groups is None else groups[0],
        groups=None if groups is None else groups[1],
    )


def _metrics(outcome: Outcome, task: AdapterTask) -> dict[str, float | None]:
    if isinstance(outcome, Evaluation):
        return outcome.metrics()
    thresholds = None if task.thresholds is None else np.array(task.thresholds)
    temperature = 1.0 if task.calibration is None else task.calibration.temperature
    return outcome.metrics(thresholds, temperature=temperature)


def _data(loaded: LoadedAdapter, given: Mapping[str, Any]) -> tuple[DataConfig, bool]:
    """The images to measure on, and whether they are those that the run was trained on."""
    if not isinstance(loaded, LoadedRun):
        if "path" not in given:
            raise UserError("an adapter alone has no images: name some with --data.path.")
        fixed = next((name for name in _FIXED if name in given), None)
        if fixed is not None:
            raise UserError(f"--data.{fixed} is the adapter's own: leave it out.")
        return DataConfig(**given), False
    own = loaded.recipe.data
    for name in _FIXED:
        if given.get(name, getattr(own, name)) != getattr(own, name):
            raise UserError(f"--data.{name} is the run's own, {getattr(own, name)}: leave it out.")
    data = dataclasses.replace(own, **given)
    one, other = (Path(path).expanduser().resolve() for path in (data.path, own.path))
    return data, one == other

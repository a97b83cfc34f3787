"""The task of an adapter: ``task.json``, in one format beside every method's files.

An adapter alone says what was learned on which layers. This file says what its outputs mean: the
labels, how images are prepared, and the backbone it was trained on.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from arcvit.core.errors import UserError, nearest
from arcvit.core.files import read_json, write_json
from arcvit.core.settings import Range, check_range, check_value, hints_of

TASK_FILE = "task.json"
VERSION = 1
"""Raised whenever a reader of the format before would misread the file."""

MOST_LABELS = 100_000
"""Four times the classes of ImageNet-21k: a stranger's file mustn't ask for any head it likes."""

Kind = Literal["single", "multilabel"]

_RESULTS = {
    "task": str,
    "method": str,
    "val_accuracy": float | None,
    "test_accuracy": float | None,
    "metrics": dict[str, dict[str, float | None]],
}
"""What is shown of the results; there may be others."""

NO_THRESHOLD = 0.5
"""From this probability on one of several labels is given, where no threshold was chosen."""

Record = TypeVar("Record")


@dataclass(frozen=True, kw_only=True)
class TaskBackbone:
    """The backbone of an adapter.

    Attributes:
        name: what ``--backbone`` takes: a timm name, a file, a folder or demo.
        fingerprint: fingerprint of its weights; None: not known, and not checked.
        weights: pretrained (the backbone's own), random, or a local file.
        seed: what random weights are drawn from.
        image_size: edge of the input in pixels, where it isn't the backbone's own.
        args: what was changed in its architecture.
        commit: of its repository on the hub, where the name is that of one.
    """

    name: str
    fingerprint: str | None = None
    weights: str = "pretrained"
    seed: Annotated[int, Range(at_least=0, at_most=2**63 - 1)] = 0
    image_size: Annotated[int, Range(at_least=1, at_most=8192)] | None = None
    args: dict[str, Any] = field(default_factory=dict)
    commit: str | None = None


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How far to believe the outputs, as validation images showed.

    Attributes:
        temperature: what logits are divided by before softmax or sigmoid.
        images: number of validation images.
        score: how much an image is like those learned: the largest cosine of its features and the
            mean features of a class.
        threshold: images of a lower score aren't known.
        coverage: share of the validation images that the threshold keeps at least.
    """

    temperature: Annotated[float, Range(at_least=1e-3, at_most=1e3)]
    images: Annotated[int, Range(at_least=1)]
    score: Literal["cosine"]
    threshold: Annotated[float, Range(at_least=-1, at_most=1)]
    coverage: Annotated[float, Range(above=0, at_most=1)]


@dataclass(frozen=True, kw_only=True)
class AdapterTask:
    """What the outputs of an adapter mean.

    Attributes:
        labels: class names in the order of the logits.
        head: qualified name of the head in the backbone.
        preprocessing: how images are prepared, as ``Preprocessing`` writes itself.
        backbone: what the adapter was trained on.
        kind: an image has one of the labels (single) or any number of them (multilabel).
        thresholds: from which probability on each label is given, in the order of labels, where an
            image has any number of them; None: from 0.5 on.
        calibration: how far to believe the outputs; None: probabilities are those of softmax, and
            images that are like none aren't told.
        results: what came out: task, method, val_accuracy, test_accuracy, metrics, as far as
            measured.
        version: version of the format.
    """

    labels: list[str]
    head: str
    preprocessing: dict[str, Any]
    backbone: TaskBackbone
    kind: Kind = "single"
    thresholds: list[float] | None = None
    calibration: Calibration | None = None
    results: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def given(self, probabilities: Sequence[float], threshold: float | None = None) -> list[int]:
        """The labels that an image is given, by their places, the most probable first.

        Of several labels those that reach their thresholds, which may be none.

        Args:
            probabilities: of each label.
            threshold: one for all labels, in place of their own.
        """
        ranked = sorted(range(len(self.labels)), key=lambda k: -probabilities[k])
        if self.kind == "single":
            return ranked[:1]
        limits = self.thresholds or [NO_THRESHOLD] * len(ranked)
        if threshold is not None:
            limits = [threshold] * len(ranked)
        return [k for k in ranked if probabilities[k] >= limits[k]]

    def write(self, folder: Path) -> None:
        """Write ``task.json`` into an adapter folder, atomically."""
        record = dataclasses.asdict(self)
        write_json(folder / TASK_FILE, {"version": record.pop("version"), **record})


def has_task(folder: Path) -> bool:
    """Whether a folder is an adapter's with its task."""
    return (folder / TASK_FILE).is_file()


def read_task(folder: Path) -> AdapterTask:
    """The task of an adapter folder.

    Raises:
        UserError: there is none, it is damaged, or it was written by a newer arcvit.
    """
    file = folder / TASK_FILE
    if not file.is_file():
        raise UserError(
            f"{str(folder)!r} is not an adapter that arcvit saved: expected {TASK_FILE} in it,"
            " which arcvit.save_adapter writes (a plain save_pretrained doesn't)."
        )
    record = read_json(file)
    version = record.get("version")
    if isinstance(version, int) and version > VERSION:
        raise UserError(
            f"{file} has version {version}, and this arcvit reads up to {VERSION}: upgrade arcvit."
        )
    labels = record.get("labels")
    if isinstance(labels, list) and len(labels) > MOST_LABELS:
        raise UserError(f"{file} has {len(labels):,} labels: expected at most {MOST_LABELS:,}.")
    try:
        for key, kind in (("backbone", TaskBackbone), ("calibration", Calibration)):
            if isinstance(record.get(key), dict):
                record[key] = _record_of(kind, record[key])
        task = _record_of(AdapterTask, record)
    except UserError as error:
        raise UserError(f"{file} is damaged: {error}") from error
    if not task.labels:
        raise UserError(f"{file} is damaged: labels is empty.")
    if task.thresholds is not None:
        _check_thresholds(file, task)
    for key, hint in _RESULTS.items():
        if key in task.results:
            check_value(f"{file}: results.{key}", task.results[key], hint)
    return task


def _check_thresholds(file: Path, task: AdapterTask) -> None:
    thresholds = task.thresholds or []
    fits = len(thresholds) == len(task.labels) and all(0 <= t <= 1 for t in thresholds)
    if task.kind != "multilabel" or not fits:
        raise UserError(
            f"{file} is damaged: expected thresholds only where kind is multilabel, one in [0, 1]"
            f" for each of the {len(task.labels):,} labels."
        )


def _record_of(record_type: type[Record], values: Mapping[str, Any]) -> Record:
    """A record of these values: no other keys, none missing, each of its type."""
    hints, limits = hints_of(record_type), hints_of(record_type, ranges=True)
    for name, value in values.items():
        if name not in hints:
            raise UserError(
                f"it has the key {name!r}: expected {', '.join(hints)}.{nearest(name, hints)}"
            )
        check_value(name, value, hints[name])
        check_range(name, value, limits[name])
    try:
        return record_type(**values)
    except TypeError as error:  # names the missing ones
        raise UserError(f"{error}.") from error

"""Check a task on disk for all that would spoil a result, and say what it is."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.task import Kind
from arcvit.data.catalogue import BenchmarkTask, recognise
from arcvit.data.check.examine import ImageFacts, examine
from arcvit.data.check.images import (
    duplicate_findings,
    file_findings,
    format_findings,
    union_findings,
)
from arcvit.data.check.labels import label_findings, split_findings
from arcvit.data.check.multilabel import class_counts, multilabel_findings
from arcvit.data.check.pixels import (
    blank_findings,
    decoding_findings,
    majority_findings,
    scene_findings,
)
from arcvit.data.config import DataConfig
from arcvit.data.findings import Finding, spoils
from arcvit.data.readers.layouts import layout_of, read_task
from arcvit.data.readers.reader import Reading
from arcvit.data.task import ImageTask

BENCHMARK_LAYOUTS = {"vtab": "vtab", "fgvc": "fgvc", "cub": "fgvc", "dogs": "fgvc"}
"""The suite whose tasks come in a layout. In others a name says nothing: anyone's photos."""

StartProgress = Callable[[int], Callable[[int], None]]
"""Told how many files there are; returns what is told how many are done."""


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """One split of a checked task."""

    images: int
    """Images in the list."""
    expected: int | None
    """Images that the catalogue says; None where the task is in no catalogue."""
    classes: int
    """Different labels."""
    labels: tuple[int, int] | None
    """Smallest and largest label; None where no image has one."""
    unlabelled: int
    """Images without a label, which only those of a multilabel task can be."""
    held_out: bool
    """Whether it was taken out of another split, as it has no list of its own."""


@dataclass(frozen=True, kw_only=True)
class TaskReport:
    """What a check found in a task."""

    name: str
    """Name of the folder or file."""
    path: Path
    """Where it is."""
    layout: str
    """``vtab``, ``fgvc``, ``cub``, ``dogs``, ``folders``, ``table`` or ``unknown``."""
    benchmark: str | None
    """The catalogue's name for it, or None."""
    images: Path
    """The folder that the image paths start from."""
    kind: Kind
    """Whether an image has one label (single) or any number of them (multilabel)."""
    classes: int
    """Number of classes."""
    class_counts: dict[str, dict[str, int]]
    """For each class its images in each split."""
    splits: dict[str, SplitReport]
    """By name."""
    formats: dict[str, int]
    """How many files there are of each format, most first."""
    sizes: dict[str, int]
    """How many images there are of each size, ``HEIGHTxWIDTH``, most first."""
    preset: str
    """The preset of a benchmark's published results, else ``model``."""
    findings: tuple[Finding, ...]
    """What is wrong, worst first."""

    @property
    def spoilt(self) -> bool:
        """Whether a result would be wrong."""
        return any(finding.severity == "spoils" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return {**asdict(self), "path": str(self.path), "images": str(self.images)} | {
            "spoilt": self.spoilt
        }


def check_task(
    path: Path,
    *,
    kind: Kind = "single",
    benchmark: BenchmarkTask | None = None,
    data: Mapping[str, Any] = MappingProxyType({}),
    start: StartProgress | None = None,
) -> TaskReport:
    """Check the task at a path: its lists, its labels and every image file.

    Args:
        path: a task's folder or table.
        kind: whether an image has one label or any number of them.
        benchmark: which benchmark task it is; None goes by the folder's name.
        data: fields of ``DataConfig``, as a run will give them. Without ``val_fraction`` a task of
            FGVC is opened as its benchmark divides it.
        start: told how many files are about to be read.
    """
    path = path.expanduser()
    name, layout = path.resolve().name, layout_of(path) or "unknown"
    known = benchmark
    if known is None and layout in BENCHMARK_LAYOUTS:
        known = recognise(name, suite=BENCHMARK_LAYOUTS[layout])
    if known is not None and known.suite == "fgvc":
        data = {"val_fraction": known.val_fraction, **data}
    preset = known.preset if known is not None else BENCHMARK_LAYOUTS.get(layout, "model")
    config = DataConfig(**{"preset": preset, **data, "path": str(path)})
    how = config.opening(kind)
    try:
        reading = read_task(path, how)
    except UserError as error:
        nothing = ImageTask(name=name, root=path, layout=layout, classes=(), splits={})
        reading = Reading(task=nothing, findings=(spoils("unreadable-task", str(error)),))
    task = _with_classes_of(known, reading.task)
    paths = [path for images in task.splits.values() for path in images.paths]
    on_progress = start(len(dict.fromkeys(paths))) if start is not None else None
    facts = examine(paths, config.decoding(), on_progress=on_progress)
    looked = [
        *split_findings(reading, known),
        *label_findings(task, known),
        *file_findings(task, facts),
        *union_findings(task, facts),
        *duplicate_findings(task, facts),
        *format_findings(facts, known),
        *blank_findings(task, facts),
        *decoding_findings(task, facts, config.decoding(), config.preset),
        *majority_findings(task),
        *multilabel_findings(task),
    ]
    # What a benchmark's splits share is published with it.
    if known is None and layout not in BENCHMARK_LAYOUTS:
        looked += scene_findings(task, facts)
    # A closer look tells the same in better words.
    told = {finding.kind for finding in looked if finding.severity == "spoils"} - {"absent-split"}
    found = [finding for finding in reading.findings if finding.kind not in told] + looked
    order = ("spoils", "warning", "note")
    readable = [fact for fact in facts.values() if not fact.problem]
    return TaskReport(
        name=name,
        path=path,
        layout=task.layout,
        benchmark=known.name if known is not None else None,
        images=task.root,
        kind=kind,
        classes=len(task.classes),
        class_counts=class_counts(task),
        splits={
            split: SplitReport(
                images=len(images),
                expected=known.counts[split] if known is not None else None,
                classes=len(images.seen),
                labels=(min(images.seen), max(images.seen)) if images.seen else None,
                unlabelled=sum(not labels for labels in images.label_sets),
                held_out=split in reading.held_out,
            )
            for split, images in task.splits.items()
        },
        formats=dict(Counter(fact.format for fact in readable).most_common()),
        sizes=_sizes(readable),
        preset=preset,
        findings=tuple(sorted(found, key=lambda finding: order.index(finding.severity))),
    )


def _with_classes_of(known: BenchmarkTask | None, task: ImageTask) -> ImageTask:
    """A task of VTAB without names of its own has the benchmark's classes, used or not."""
    count = len(task.classes)
    if known is None or task.layout != "vtab" or count >= known.classes:
        return task
    if task.classes != tuple(map(str, range(count))):
        return task
    return replace(task, classes=tuple(map(str, range(known.classes))))


def _sizes(facts: list[ImageFacts]) -> dict[str, int]:
    counted = Counter(fact.size for fact in facts).most_common()
    return {f"{height}x{width}": count for (height, width), count in counted}

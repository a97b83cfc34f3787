"""Check a task on disk for all that would spoil a result, and say what it is."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from arcvit.core.errors import UserError
from arcvit.data.catalogue import BenchmarkTask, recognise
from arcvit.data.check.examine import ImageFacts, examine
from arcvit.data.check.images import (
    duplicate_findings,
    file_findings,
    format_findings,
    union_findings,
)
from arcvit.data.check.labels import count_findings, label_findings
from arcvit.data.check.listing import Listing, list_task
from arcvit.data.findings import Finding, spoils
from arcvit.data.readers.layouts import open_task
from arcvit.data.task import Split

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
    """Smallest and largest label; None without images."""
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
    classes: int
    """Number of classes."""
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
    benchmark: BenchmarkTask | None = None,
    opening: Mapping[str, Any] = MappingProxyType({}),
    start: StartProgress | None = None,
) -> TaskReport:
    """Check the task at a path: its lists, its labels and every image file.

    Args:
        path: a task's folder or table.
        benchmark: which benchmark task it is; None goes by the folder's name.
        opening: arguments of ``open_task``, as a run will give them.
        start: told how many files are about to be read.
    """
    name = path.resolve().name
    known = benchmark
    fraction = known.val_fraction if known is not None and known.suite == "fgvc" else 0.2
    arguments = {"val_fraction": fraction, **opening}
    listing = list_task(path, known, arguments)
    if known is None and listing.layout in BENCHMARK_LAYOUTS:
        known = recognise(name, suite=BENCHMARK_LAYOUTS[listing.layout])
        if known is not None:
            return check_task(path, benchmark=known, opening=opening, start=start)
    paths = [path for images in listing.splits.values() for path in images.paths]
    on_progress = start(len(dict.fromkeys(paths))) if start is not None else None
    facts = examine(paths, on_progress=on_progress)
    found = [
        *listing.findings,
        *count_findings(listing, known),
        *label_findings(listing, known),
        *file_findings(listing, facts),
        *union_findings(listing, facts),
        *duplicate_findings(listing, facts),
        *format_findings(listing, facts, known),
    ]
    if not any(finding.severity == "spoils" for finding in found):
        found += _refusal(path, arguments)
    order = ("spoils", "warning", "note")
    readable = [fact for fact in facts.values() if not fact.problem]
    return TaskReport(
        name=name,
        path=path,
        layout=listing.layout,
        benchmark=known.name if known is not None else None,
        images=listing.images,
        classes=len(listing.classes),
        splits={
            split: _split_report(split, images, listing, known)
            for split, images in listing.splits.items()
        },
        formats=dict(Counter(fact.format for fact in readable).most_common()),
        sizes=_sizes(readable),
        preset=known.preset if known is not None else _preset(listing.layout),
        findings=tuple(sorted(found, key=lambda finding: order.index(finding.severity))),
    )


def _refusal(path: Path, opening: Mapping[str, Any]) -> list[Finding]:
    """What the reader that a run uses refuses, where no check has found it."""
    try:
        open_task(path, **opening)
    except UserError as error:
        return [spoils("unreadable-task", str(error))]
    return []


def _split_report(
    split: str, images: Split, listing: Listing, known: BenchmarkTask | None
) -> SplitReport:
    return SplitReport(
        images=len(images),
        expected=known.counts[split] if known is not None else None,
        classes=len(set(images.labels)),
        labels=(min(images.labels), max(images.labels)) if len(images) else None,
        held_out=split in listing.held_out,
    )


def _sizes(facts: list[ImageFacts]) -> dict[str, int]:
    counted = Counter(fact.size for fact in facts).most_common()
    return {f"{height}x{width}": count for (height, width), count in counted}


def _preset(layout: str) -> str:
    return BENCHMARK_LAYOUTS.get(layout, "model")

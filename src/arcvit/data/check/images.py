"""Checks of a task's image files: missing, broken, the same in two splits, re-encoded."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from arcvit.data.catalogue import BenchmarkTask
from arcvit.data.check.examine import ImageFacts
from arcvit.data.findings import Finding, examples, spoils, warning
from arcvit.data.readers.finish import repair
from arcvit.data.task import ImageTask, Split

Facts = Mapping[Path, ImageFacts]
Labels = tuple[int, ...]

TINY_SIDE = 32
"""Sources of this size, such as CIFAR and SVHN, lose much when they are saved as JPEG."""
LOSSY_FORMATS = ("JPEG", "MPO")
_MISSING = "no such file"


def file_findings(task: ImageTask, facts: Facts) -> list[Finding]:
    """Files that are listed but missing, and files that can't be read."""
    findings = []
    for split, images in task.splits.items():
        bad = [facts[path] for path in dict.fromkeys(images.paths) if facts[path].problem]
        missing = [task.inside(fact.path) for fact in bad if fact.problem == _MISSING]
        broken = [
            f"{task.inside(fact.path)} ({fact.problem})" for fact in bad if fact.problem != _MISSING
        ]
        if missing:
            text = f"{split} lists {len(missing):,} image(s) that are not there,"
            text += f" {repair(task.root / missing[0])}: {examples(missing)}."
            findings.append(spoils("missing-files", text))
        if broken:
            text = f"{split} has {len(broken):,} file(s) that can't be read: {examples(broken)}."
            findings.append(spoils("unreadable-files", text))
    return findings


def duplicate_findings(task: ImageTask, facts: Facts) -> list[Finding]:
    """Images with the same pixels in two splits, or with two labels in one."""
    owner = {split: _labels_of_pixels(images, facts) for split, images in task.splits.items()}
    findings = []
    pairs = (("train", "test"), ("val", "test"), ("trainval", "test"), ("train", "val"))
    for one, other in pairs:
        if one not in owner or other not in owner:
            continue
        # What trainval shares with test is told once, where train and val are there to tell it.
        if one == "trainval" and {"train", "val"} <= set(owner) and _is_union(task, facts):
            continue
        shared = [path for pixels, (path, _) in owner[one].items() if pixels in owner[other]]
        if not shared:
            continue
        named = [
            f"{task.inside(path)} = {task.inside(owner[other][facts[path].pixels][0])}"
            for path in shared
        ]
        text = f"{len(shared):,} image(s) of {one} are in {other} too, by content:"
        text += f" {examples(named)}."
        bad = other == "test"
        findings.append((spoils if bad else warning)("overlap" if bad else "overlap-val", text))
    for split, found in owner.items():
        twins = [path for path, labels in found.values() if len(labels) > 1]
        if twins:
            named = [task.inside(path) for path in twins]
            text = f"{len(twins):,} image(s) of {split} are there twice with different labels:"
            findings.append(warning("conflicting-labels", f"{text} {examples(named)}."))
    return findings


def union_findings(task: ImageTask, facts: Facts) -> list[Finding]:
    """Whether VTAB's ``train800val200`` holds what ``train800`` and ``val200`` hold."""
    if not {"train", "val", "trainval"} <= set(task.splits) or _is_union(task, facts):
        return []
    parts = _contents(task, ("train", "val"), facts)
    union = _contents(task, ("trainval",), facts)
    lacking, extra = (parts - union).total(), (union - parts).total()
    return [
        spoils(
            "union",
            f"trainval is not train and val together: {lacking:,} of their images with their labels"
            f" are not in it, and {extra:,} in it are not theirs.",
        )
    ]


def format_findings(facts: Facts, known: BenchmarkTask | None) -> list[Finding]:
    """Images that were re-encoded with loss or resized before they came here."""
    readable = [fact for fact in facts.values() if not fact.problem]
    lossy = [fact for fact in readable if fact.format in LOSSY_FORMATS]
    findings = []
    if known is not None and known.lossless and lossy:
        text = f"{len(lossy):,} of {len(readable):,} images are JPEG, but {known.name}'s source is"
        text += " lossless: re-encoding moves results, see `arcvit data prepare`."
        findings.append(warning("lossy", text))
    elif tiny := [fact for fact in lossy if max(fact.size) <= TINY_SIDE]:
        text = f"{len(tiny):,} images of at most {TINY_SIDE} pixels a side are JPEG: at that size a"
        text += " re-encoding is visible and moves results, use PNG."
        findings.append(warning("lossy", text))
    if known is not None and known.source_side is not None:
        side = (known.source_side, known.source_side)
        other = Counter(fact.size for fact in readable if fact.size != side)
        if other:
            height, width = other.most_common(1)[0][0]
            text = f"{other.total():,} images are not {side[0]}x{side[1]} pixels as {known.name}'s"
            text += f" source, but {height}x{width} or so: they were resized before."
            findings.append(warning("resized", text))
    return findings


def _labels_of_pixels(images: Split, facts: Facts) -> dict[bytes, tuple[Path, set[Labels]]]:
    found: dict[bytes, tuple[Path, set[Labels]]] = {}
    for path, labels in images.with_sets():
        if not facts[path].problem and not facts[path].blank:
            found.setdefault(facts[path].pixels, (path, set()))[1].add(labels)
    return found


def _contents(
    task: ImageTask, splits: tuple[str, ...], facts: Facts
) -> "Counter[tuple[bytes, Labels]]":
    # A file that can't be read is told of already; it counts by what it is called.
    return Counter(
        (facts[path].pixels or path.name.encode(), labels)
        for split in splits
        for path, labels in task.splits[split].with_sets()
    )


def _is_union(task: ImageTask, facts: Facts) -> bool:
    return _contents(task, ("train", "val"), facts) == _contents(task, ("trainval",), facts)

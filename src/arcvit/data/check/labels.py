"""Checks of a task's splits and labels against the catalogue and against each other."""

from arcvit.data.catalogue import BenchmarkTask
from arcvit.data.findings import Finding, examples, note, spoils, warning
from arcvit.data.readers.reader import Reading
from arcvit.data.task import ImageTask


def split_findings(reading: Reading, known: BenchmarkTask | None) -> list[Finding]:
    """Splits that are absent or held out, or whose sizes aren't the catalogue's.

    The test split's size is the loudest.
    """
    findings = []
    for split, why in reading.absent.items():
        if split not in reading.held_out:
            text = f"{why}: there is no {split} split, so that nothing is measured on one."
            findings.append(warning("absent-split", text))
    if reading.held_out:
        held = [f"{len(reading.task.splits[s]):,} as {s}" for s in reading.held_out]
        whole = "groups" if reading.task.groups else "images"
        text = f"{reading.absent[reading.held_out[0]]}: {' and '.join(held)} are held out of the"
        text += f" training images, drawn by a hash of the {whole}."
        kind = warning if reading.held_out == ("val",) else note
        findings.append(kind("held-out", text))
    if known is None:
        return findings
    counts = {split: len(images) for split, images in reading.task.splits.items()}
    if reading.held_out == ("val",):
        # How many are held out of each class depends on rounding; their sum doesn't.
        counts["trainval"] = counts.pop("train") + counts.pop("val", 0)
    for split, count in counts.items():
        expected = known.counts[split]
        if count == expected:
            continue
        if split == "test":
            text = f"THE TEST SPLIT HAS {count:,} IMAGES, {known.name} has {expected:,}: accuracies"
            findings.append(warning("test-size", f"{text} can't be compared with published ones."))
        else:
            text = f"{split} has {count:,} images, {known.name} has {expected:,}."
            findings.append(warning("split-size", text))
    return findings


def label_findings(task: ImageTask, known: BenchmarkTask | None) -> list[Finding]:
    """Labels that the benchmark hasn't, and classes that are missing from a split."""
    findings = []
    if known is not None and task.layout == "vtab":
        findings += _range_findings(task, known)
    elif known is not None and task.splits and len(task.classes) != known.classes:
        count, expected = len(task.classes), known.classes
        text = f"there are {count} classes, {known.name} has {expected}."
        findings.append((spoils if count > expected else warning)("classes", text))
    for split in task.splits:
        findings += _coverage_findings(task, split)
    return findings


def _range_findings(task: ImageTask, known: BenchmarkTask) -> list[Finding]:
    findings = []
    for split, images in task.splits.items():
        wrong = [label for label in images.labels if label >= known.classes]
        if wrong:
            text = f"{split} has {len(wrong):,} label(s) out of range, such as {wrong[0]}:"
            text += f" {known.classes} classes have the labels 0 to {known.classes - 1}."
            findings.append(spoils("label-range", text))
    used = {label for images in task.splits.values() for label in images.labels}
    # Lists that count from 1 have labels in range but for the last class.
    if known.classes in used and min(used) == 1:
        text = "labels count from 1: expected them to count from 0."
        findings.append(spoils("label-range", text))
    return findings


def _coverage_findings(task: ImageTask, split: str) -> list[Finding]:
    images = task.splits[split]
    absent = [name for label, name in enumerate(task.classes) if label not in images.seen]
    if not absent:
        return []
    text = f"{len(absent)} of {len(task.classes)} classes have no image in {split}:"
    text += f" {examples(absent)}."
    if split in ("train", "trainval") and task.layout != "vtab":
        return [spoils("class-coverage", text)]
    # 200 images can't cover 397 classes: VTAB draws its lists without regard to classes.
    if split == "val" and len(images) < len(task.classes):
        return [note("class-coverage", text)]
    return [warning("class-coverage", text)]

"""Checks of a task's counts and labels against the catalogue and against each other."""

from arcvit.data.catalogue import BenchmarkTask
from arcvit.data.check.listing import Listing
from arcvit.data.findings import Finding, examples, note, spoils, warning
from arcvit.data.task import Split


def count_findings(listing: Listing, known: BenchmarkTask | None) -> list[Finding]:
    """Splits whose sizes are not those of the catalogue. The test split's is the loudest."""
    findings = [
        spoils("absent-split", f"the {split} split is empty.")
        for split, images in listing.splits.items()
        if not len(images)
    ]
    if known is None:
        return findings
    counts = {split: len(images) for split, images in listing.splits.items()}
    if listing.held_out == ("val",):
        # How many are held out of each class depends on rounding; their sum doesn't.
        counts = {"trainval": counts["train"] + counts.get("val", 0), "test": counts["test"]}
    for split, count in counts.items():
        expected = known.counts[split]
        if count == expected:
            continue
        if split == "test":
            findings.append(
                warning(
                    "test-size",
                    f"THE TEST SPLIT HAS {count:,} IMAGES, {known.name} has {expected:,}:"
                    " accuracies can't be compared with published ones.",
                )
            )
        else:
            findings.append(
                warning(
                    "split-size",
                    f"{split} has {count:,} images, {known.name} has {expected:,}.",
                )
            )
    return findings


def label_findings(listing: Listing, known: BenchmarkTask | None) -> list[Finding]:
    """Labels out of range, and classes that are missing from a split."""
    if not listing.splits:
        return []
    used = {label for images in listing.splits.values() for label in images.labels}
    if not used:
        return []
    findings = []
    if listing.layout == "vtab":
        findings += _range_findings(listing, known, used)
    elif known is not None and len(listing.classes) != known.classes:
        count, expected = len(listing.classes), known.classes
        text = f"there are {count} classes, {known.name} has {expected}."
        findings.append((spoils if count > expected else warning)("classes", text))
    if len(listing.classes) < 2 and len(used) < 2:
        findings.append(spoils("classes", f"there is {len(used)} class: expected at least 2."))
    for split, images in listing.splits.items():
        findings += _coverage_findings(listing, split, images)
    return findings


def _range_findings(listing: Listing, known: BenchmarkTask | None, used: set[int]) -> list[Finding]:
    classes = known.classes if known is not None else None
    findings = []
    if classes is not None:
        for split, images in listing.splits.items():
            wrong = [label for label in images.labels if label >= classes]
            if wrong:
                findings.append(
                    spoils(
                        "label-range",
                        f"{split} has {len(wrong):,} label(s) out of range, such as {wrong[0]}:"
                        f" {classes} classes have the labels 0 to {classes - 1}.",
                    )
                )
        # Lists that count from 1 have labels in range but for the last class.
        if min(used) == 1 and classes in used:
            findings.append(
                spoils("label-range", "labels count from 1: expected them to count from 0.")
            )
    elif max(used) >= 2 * len(used):
        findings.append(
            spoils(
                "label-range",
                f"the largest label is {max(used)} but there are only {len(used)} different ones:"
                " expected labels that count from 0.",
            )
        )
    return findings


def _coverage_findings(listing: Listing, split: str, images: Split) -> list[Finding]:
    present = frozenset(images.labels)
    absent = [name for label, name in enumerate(listing.classes) if label not in present]
    if not absent or not len(images):
        return []
    text = f"{len(absent)} of {len(listing.classes)} classes have no image in {split}:"
    text += f" {examples(absent)}."
    if split in ("train", "trainval") and listing.layout != "vtab":
        return [spoils("class-coverage", text)]
    # 200 images can't cover 397 classes: VTAB draws its lists without regard to classes.
    if split == "val" and len(images) < len(listing.classes):
        return [note("class-coverage", text)]
    return [warning("class-coverage", text)]

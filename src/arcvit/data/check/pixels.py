"""Checks of what images show: nothing at all, the wrong way up, too dark, the same scene twice."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from arcvit.data.check.examine import ImageFacts
from arcvit.data.findings import Finding, examples, note, spoils, warning
from arcvit.data.pixels.grey import grey_range
from arcvit.data.pixels.preset import Decoding
from arcvit.data.task import ImageTask, Split

Facts = Mapping[Path, ImageFacts]

_ALIKE = 0.99
"""Correlation of two thumbnails from which they show the same scene."""
_CONTRAST = 4.0
"""Standard deviation of a thumbnail below which it could be of anything."""
_PAIRS = 2**22
"""Thumbnails that are compared at once: 16 MB."""


def blank_findings(task: ImageTask, facts: Facts) -> list[Finding]:
    """Images on which there is nothing to see, and classes of nothing else."""
    blank = [fact for fact in facts.values() if fact.blank]
    if not blank:
        return []
    named = [f"{task.inside(fact.path)} ({fact.blank})" for fact in blank]
    text = f"{len(blank):,} of {len(facts):,} images are blank, nothing is to be seen on them:"
    text += f" {examples(named)}."
    if any("transparency" in fact.blank for fact in blank):
        text += " Transparency is dropped: save what it holds as grey or colour."
    train = task.splits.get("train", Split.of([]))
    lost = train.seen - train.rows(r for r, p in enumerate(train.paths) if not facts[p].blank).seen
    if not lost:
        return [warning("blank-images", text)]
    text += (
        f" Nothing else is in the class(es) {examples([task.classes[c] for c in sorted(lost)])}."
    )
    return [spoils("blank-images", text)]


def decoding_findings(task: ImageTask, facts: Facts, how: Decoding, preset: str) -> list[Finding]:
    """Images whose pixels aren't simply those of the file."""
    findings = []
    turned = [fact for fact in facts.values() if fact.turned]
    if turned:
        text = f"{len(turned):,} of {len(facts):,} images are rotated, their EXIF says how:"
        text += f" {examples([task.inside(fact.path) for fact in turned])};"
        if how.orientation == "upright":
            text += f" they are turned upright (preset {preset})."
            findings.append(note("rotated-images", text))
        else:
            text += f" they are read as stored (preset {preset}), see --data.orientation upright."
            findings.append(warning("rotated-images", text))
    peaks = {path: fact.peak for path, fact in facts.items() if fact.peak is not None}
    if peaks:
        trained = [peaks.get(path) for path in task.splits["train"].paths]
        white, most = grey_range(trained), max(peaks.values())
        text = f"{len(peaks):,} grey images of 16 bits have values up to {most:,}: 0 to {white:,}"
        text += " is read as black to white, the range of the training images."
        kind = warning if most > white else note
        findings.append(kind("grey-range", text))
    if deep := sum(fact.deep_colour for fact in facts.values()):
        text = f"{deep:,} colour images have 16 bits, of which the high 8 are read: values of 10 or"
        text += " 12 bits come out almost black, save such images with 8."
        findings.append(warning("deep-colour", text))
    return findings


def scene_findings(task: ImageTask, facts: Facts) -> list[Finding]:
    """Images of two splits that are nearly the same, but not the same: bursts, crops, copies."""
    findings = []
    for one, other in (("train", "test"), ("val", "test"), ("train", "val")):
        if one not in task.splits or other not in task.splits:
            continue
        left, right = (
            [facts[path] for path in task.splits[split].paths if facts[path].thumb]
            for split in (one, other)
        )
        pairs = [
            (a, b)
            for a, b in _pairs_alike(left, right)
            if a.pixels != b.pixels and not _same_group(task, a.path, b.path)
        ]
        if pairs:
            named = [f"{task.inside(a.path)} ~ {task.inside(b.path)}" for a, b in pairs]
            text = f"{len(pairs):,} image(s) of {other} are nearly the same as one of {one}:"
            text += f" {examples(named)}; if they show the same thing, keep it in one split with"
            text += " --data.group_column or --data.group_pattern."
            findings.append(warning("near-duplicates", text))
    return findings


def majority_findings(task: ImageTask) -> list[Finding]:
    """A class so frequent that always answering it is nearly as good as an accuracy can be."""
    if task.kind != "single" or not task.splits.get("train"):
        return []
    labels = task.splits["train"].labels
    label, count = Counter(labels).most_common(1)[0]
    if count < 0.9 * len(labels):
        return []
    text = f"{count / len(labels):.0%} of train is of the class {task.classes[label]}: always"
    text += " answering it is as accurate as that, so look at the balanced accuracy."
    return [warning("majority", text)]


def _pairs_alike(
    left: list[ImageFacts], right: list[ImageFacts]
) -> list[tuple[ImageFacts, ImageFacts]]:
    """For each image on the right that has one like it on the left, that one first."""
    ours, theirs = _thumbs(left), _thumbs(right)
    found = []
    rows = max(1, _PAIRS // max(1, len(left)))
    for start in range(0, len(right), rows):
        alike = theirs[start : start + rows] @ ours.T
        best = alike.argmax(axis=1) if len(left) else np.empty(0, int)
        for row, column in enumerate(best):
            if alike[row, column] >= _ALIKE:
                found.append((left[column], right[start + row]))
    return found


def _thumbs(facts: list[ImageFacts]) -> np.ndarray:
    """Thumbnails as unit vectors, (N, THUMB²); those without contrast are zero."""
    if not facts:
        return np.zeros((0, 1), np.float32)
    grey = np.frombuffer(b"".join(fact.thumb for fact in facts), np.uint8)
    values = grey.reshape(len(facts), -1).astype(np.float32)  # a kilobyte an image, and in place
    values -= values.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", values, values))
    values /= np.maximum(length, 1e-6)[:, None]
    values[length <= _CONTRAST * values.shape[1] ** 0.5] = 0
    return values


def _same_group(task: ImageTask, one: Path, other: Path) -> bool:
    # That a group is in two splits is told by the reader.
    return one in task.groups and task.groups[one] == task.groups.get(other)

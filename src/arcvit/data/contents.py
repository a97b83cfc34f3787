"""Which images a task has, by content: what tells whether it is still the same task.

Names, sizes and dates of files may stay as they are while labels or photos change.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arcvit.core.content import content_hash
from arcvit.data.findings import examples
from arcvit.data.pixels.rgb import in_threads
from arcvit.data.task import ImageTask, Split

_KEYS: tuple[Callable[["KnownImage"], object], ...] = (
    lambda image: (image.path, image.content),
    lambda image: (image.label, image.content),
    lambda image: image.content,
    lambda image: image.path,
)
"""What makes an image the one of before, the surest first: a photo may have been moved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownImage:
    """An image of a task."""

    path: str
    """Inside the task's folder."""
    label: str
    """Name of its class; of a multilabel task the names in class order with ``|`` between, empty
    where it has none; of several with ``or`` between where lists contradict one another."""
    splits: tuple[str, ...]
    """The splits that it is in; two where there is a list ``trainval`` too."""
    content: str
    """Hash of the file."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The classes and images of a task."""

    classes: tuple[str, ...]
    """In label order."""
    images: tuple[KnownImage, ...]
    """Each once."""

    @property
    def fingerprint(self) -> str:
        """The same for the same images with the same labels in the same splits."""
        return hashlib.sha256(json.dumps(self.to_dict()).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        rows = [[i.path, i.label, list(i.splits), i.content] for i in self.images]
        return {"classes": list(self.classes), "images": rows}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "Contents":
        """What ``to_dict`` gave."""
        images = (
            KnownImage(path=path, label=label, splits=tuple(splits), content=content)
            for path, label, splits, content in record["images"]
        )
        return cls(classes=tuple(record["classes"]), images=tuple(images))

    def with_splits_of(self, earlier: "Contents") -> "Contents":
        """The same with the classes of before, and the images of before in their splits."""
        before = _matched(earlier, self)
        images = (replace(i, splits=before.get(i.path, i).splits) for i in self.images)
        return Contents(classes=earlier.classes, images=tuple(images))

    def divide(self, task: ImageTask) -> ImageTask:
        """The task these are the contents of, with these classes and splits."""
        path_of = {task.inside(path): path for s in task.splits.values() for path in s.paths}
        place = {name: label for label, name in enumerate(self.classes)}
        labels_of = {
            path: [place[task.classes[label]] for label in labels]
            for split in task.splits.values()
            for path, labels in split.with_sets()
        }
        pairs: dict[str, list[tuple[Path, list[int]]]] = {}
        for image in self.images:
            path = path_of[image.path]
            for split in image.splits:
                pairs.setdefault(split, []).append((path, labels_of[path]))
        splits = {name: Split.of_sets(of_split, kind=task.kind) for name, of_split in pairs.items()}
        return replace(task, classes=self.classes, splits=splits)


def contents_of(task: ImageTask, *, without: Sequence[str] = ()) -> Contents:
    """Read each image file of a task, but for those of some splits, and tell what it is."""
    labels: dict[Path, list[str]] = {}
    splits: dict[Path, list[str]] = {}
    for name, split in task.splits.items():
        for path, own in split.with_sets() if name not in without else ():
            labels.setdefault(path, []).append(task.label_text(own))
            splits.setdefault(path, []).append(name)
    images = (
        KnownImage(
            path=task.inside(path),
            label=" or ".join(dict.fromkeys(labels[path])),
            splits=tuple(splits[path]),
            content=content,
        )
        for path, content in zip(labels, content_hashes(labels), strict=True)
    )
    return Contents(classes=task.classes, images=tuple(images))


def content_hashes(paths: Iterable[Path]) -> list[str]:
    """A hash of each file; one that can't be read is like no other."""
    return list(in_threads(content_hash, list(paths)))


def changes(earlier: Contents, now: Contents) -> str:
    """What has changed, in counts with a few names; empty where nothing has."""
    before = _matched(earlier, now)
    found: dict[str, list[str]] = defaultdict(list)
    for image in now.images:
        old = before.get(image.path)
        if old is None:
            found["added"].append(image.path)
        elif old.label != image.label:
            found["relabelled"].append(f"{image.path}: {_shown(old)} -> {_shown(image)}")
        elif old.content != image.content:
            found["with other content"].append(image.path)
        elif old.splits != image.splits:
            place = f"{'+'.join(old.splits)} -> {'+'.join(image.splits)}"
            found["moved to another split"].append(f"{image.path}: {place}")
        elif old.path != image.path:
            found["renamed"].append(f"{old.path} -> {image.path}")
    there = {old.path for old in before.values()}
    found["removed"] = [image.path for image in earlier.images if image.path not in there]
    return ", ".join(
        f"{len(names):,} {what} ({examples(names)})" for what, names in found.items() if names
    )


def _shown(image: KnownImage) -> str:
    return image.label or "no label"


def _matched(earlier: Contents, now: Contents) -> dict[str, KnownImage]:
    """By the path of each image that was there before, what it was then."""
    before: dict[str, KnownImage] = {}
    left = list(earlier.images)
    for key in _KEYS:
        waiting: dict[object, list[KnownImage]] = defaultdict(list)
        for old in left:
            waiting[key(old)].append(old)
        for image in now.images:
            alike = waiting.get(key(image))
            if image.path not in before and alike:
                before[image.path] = alike.pop(0)
        left = [old for several in waiting.values() for old in several]
    return before

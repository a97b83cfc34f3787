"""An image task: class names and, for each split, the images and their labels.

An image of a single-label task has one label; one of a multilabel task has any number, none too.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.task import Kind

SPLITS = ("train", "val", "trainval", "test")
_SPLIT_OF_WORD = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"),
    *(".jp2", ".avif", ".heic", ".heif"),
)


def split_named(name: str) -> str | None:
    """The split that people mean by the name of a folder, a file or a column's value.

    Case, ``-``, ``_`` and what the thing is don't count: ``Validate``, ``test_set``.
    """
    word = re.sub(r"[-_. ]", "", name.casefold())
    return _SPLIT_OF_WORD.get(re.sub(r"(set|split|data|images)$", "", word))


def class_name(text: str) -> str:
    """A class's name as it is compared and recorded: systems compose accents in their own ways."""
    return unicodedata.normalize("NFC", text)


JOINT = "|"
"""What stands between the labels of an image where they are written as one text."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images and their labels, in a fixed order: N images.

    Raises:
        ValueError: there are not as many label sets as paths, one isn't sorted or has a label
            twice, or an image of a single-label split hasn't exactly one.
    """

    paths: tuple[Path, ...]
    """Image files."""
    label_sets: tuple[tuple[int, ...], ...]
    """For each image the indices of its classes in ``ImageTask.classes``, rising."""
    kind: Kind = "single"
    """Whether an image has one label (single) or any number of them (multilabel)."""

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.label_sets):
            raise ValueError(f"{len(self.paths)} paths but {len(self.label_sets)} label sets")
        for path, labels in self.with_sets():
            if self.kind == "single" and len(labels) != 1:
                raise ValueError(f"{path} has the labels {labels}: expected exactly one")
            if any(one >= other for one, other in pairwise(labels)):
                raise ValueError(f"{path} has the labels {labels}: expected them in rising order")

    @classmethod
    def of(cls, pairs: Iterable[tuple[Path, int]]) -> "Split":
        """The single-label split of these images and labels."""
        return cls.of_sets(((path, (label,)) for path, label in pairs), kind="single")

    @classmethod
    def of_sets(
        cls, pairs: Iterable[tuple[Path, Iterable[int]]], *, kind: Kind = "multilabel"
    ) -> "Split":
        """The split of these images and their labels, in any order."""
        held = [(path, tuple(sorted(set(labels)))) for path, labels in pairs]
        return cls(
            paths=tuple(path for path, _ in held),
            label_sets=tuple(labels for _, labels in held),
            kind=kind,
        )

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """For each image of a single-label split the index of its class, (N,).

        Raises:
            UserError: the split is multilabel; so what knows single labels alone is never wrong
                in silence.
        """
        if self.kind != "single":
            raise UserError(
                "this works on images of one label each, and those of a multilabel task have any"
                " number: expected a task, or a run, without --task multilabel."
            )
        return tuple(label for (label,) in self.label_sets)

    @cached_property
    def seen(self) -> frozenset[int]:
        """The classes that have an image here."""
        return frozenset(label for labels in self.label_sets for label in labels)

    def rows(self, rows: Iterable[int]) -> "Split":
        """The images at these places, in their order."""
        chosen = tuple(rows)
        return Split(
            paths=tuple(self.paths[row] for row in chosen),
            label_sets=tuple(self.label_sets[row] for row in chosen),
            kind=self.kind,
        )

    def __add__(self, other: "Split") -> "Split":
        """These images, then those of another split of the same kind."""
        return Split(
            paths=self.paths + other.paths,
            label_sets=self.label_sets + other.label_sets,
            kind=self.kind,
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[tuple[Path, int]]:
        """Each image of a single-label split with its label."""
        return iter(zip(self.paths, self.labels, strict=True))

    def with_sets(self) -> Iterator[tuple[Path, tuple[int, ...]]]:
        """Each image with its labels, whatever the kind."""
        return iter(zip(self.paths, self.label_sets, strict=True))


@dataclass(frozen=True, kw_only=True)
class ImageTask:
    """A classification task read from disk. One that ``open_task`` gives has a ``train`` split."""

    name: str
    """Name of the folder or, for a table, of the file without its extension."""
    root: Path
    """Folder that the image paths lie in. For FGVC it is the image folder that was found."""
    layout: str
    """The layout that was recognised: ``folders``, ``table``, ``vtab``, ``fgvc``, ``cub``,
    ``dogs``, ``datasets`` or ``webdataset``."""
    classes: tuple[str, ...]
    """Class names in label order, one map over all splits."""
    splits: Mapping[str, Split]
    """Any of ``SPLITS``; ``trainval`` only where the layout has a list of its own for it."""
    groups: Mapping[Path, str] = field(default_factory=dict)
    """What each image shows, such as a patient, where that was told; else empty."""
    further: Mapping[str, Mapping[Path, str]] = field(default_factory=dict)
    """What a table says of its images in further columns, such as the camera: those of some
    values each."""

    def inside(self, path: Path) -> str:
        """An image's path in the task's folder, in full where it lies elsewhere."""
        return (
            path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        )

    @property
    def kind(self) -> Kind:
        """Whether an image has one label (single) or any number of them (multilabel)."""
        return next((split.kind for split in self.splits.values()), "single")

    def label_text(self, labels: Iterable[int]) -> str:
        """An image's labels as one text: their names in class order; empty where it has none."""
        return JOINT.join(self.classes[label] for label in labels)

    def has(self, split: str) -> bool:
        """Whether there is such a split."""
        return split in self.splits

    def split(self, name: str) -> Split:
        """The split of that name.

        Raises:
            UserError: there is none; the sentence lists those there are.
        """
        if name not in self.splits:
            there = ", ".join(self.splits)
            raise UserError(f"Task '{self.name}' has no split '{name}': the splits are {there}.")
        return self.splits[name]

    def every(self) -> Split:
        """The images of all splits, each once."""
        labels_of = {path: labels for s in self.splits.values() for path, labels in s.with_sets()}
        return Split.of_sets(labels_of.items(), kind=self.kind)

    def trainval(self) -> Split:
        """What the final model trains on.

        The layout's own ``trainval`` list, else ``train`` followed by ``val``, else ``train``.
        """
        if self.has("trainval"):
            return self.splits["trainval"]
        train = self.split("train")
        if not self.has("val"):
            return train
        return train + self.splits["val"]

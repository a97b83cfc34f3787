"""An image task: class names and, for each split, the images and their labels."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from arcvit.core.errors import UserError

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


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images and their labels, in a fixed order.

    Raises:
        ValueError: there are not as many labels as paths.
    """

    paths: tuple[Path, ...]
    """Image files."""
    labels: tuple[int, ...]
    """For each image the index of its class in ``ImageTask.classes``."""

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.labels):
            raise ValueError(f"{len(self.paths)} paths but {len(self.labels)} labels")

    @classmethod
    def of(cls, pairs: Iterable[tuple[Path, int]]) -> "Split":
        """The split of these images and labels."""
        held = tuple(pairs)
        return cls(paths=tuple(path for path, _ in held), labels=tuple(label for _, label in held))

    def rows(self, rows: Iterable[int]) -> "Split":
        """The images at these places, in their order."""
        return Split.of((self.paths[row], self.labels[row]) for row in rows)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[tuple[Path, int]]:
        """Each image with its label."""
        return iter(zip(self.paths, self.labels, strict=True))


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
        label_of = {path: label for split in self.splits.values() for path, label in split}
        return Split.of(label_of.items())

    def trainval(self) -> Split:
        """What the final model trains on.

        The layout's own ``trainval`` list, else ``train`` followed by ``val``, else ``train``.
        """
        if self.has("trainval"):
            return self.splits["trainval"]
        train = self.split("train")
        if not self.has("val"):
            return train
        val = self.splits["val"]
        return Split(paths=train.paths + val.paths, labels=train.labels + val.labels)

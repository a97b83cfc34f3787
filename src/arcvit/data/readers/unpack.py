"""Data sets in containers (parquet, arrow, tar), unpacked once into files in the cache.

The rest of the package reads image files. Their bytes are written as they are, so nothing is
re-encoded; the cache can be removed at any time.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path, read_json, write_json
from arcvit.data.readers.checks import check_classes, check_trained
from arcvit.data.readers.holdout import hold_out
from arcvit.data.task import ImageTask, Split

CACHE = Path(".cache/arcvit/unpacked")
"""Where they are unpacked, in the user's home."""

_INDEX = "index.json"
_SUFFIX_OF_START = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"RIFF", ".webp"),
    (b"BM", ".bmp"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
)


@dataclass(frozen=True, kw_only=True)
class Container:
    """What a container holds."""

    name: str
    """The task's name."""
    layout: str
    """``datasets`` or ``webdataset``."""
    key: str
    """Changes whenever the content does."""
    classes: Sequence[str]
    """Class names in label order."""
    splits: Mapping[str, Iterable[tuple[bytes, int]]]
    """File content and label of each image of ``train``, ``val`` and ``test``; read once."""


def unpack(
    container: Container, *, val_fraction: float, test_fraction: float, seed: int
) -> ImageTask:
    """Write the images to the cache, unless they are there, and give the task.

    Splits that are missing are held out as those of class folders are.

    Args:
        container: what to unpack.
        val_fraction: share of every class to hold out where there is no val, in [0, 1).
        test_fraction: share of every class to hold out where there is train alone, in [0, 1).
        seed: decides which images are held out.

    Raises:
        UserError: no train split, a label out of range, a class without train images, one class.
    """
    source = container.name
    if "train" not in container.splits:
        there = ", ".join(container.splits) or "none"
        raise UserError(f"{source} has no split 'train': its splits are {there}.")
    check_classes(container.classes, Path(source))
    digest = hashlib.sha256(container.key.encode()).hexdigest()[:16]
    root = Path.home() / CACHE / f"{Path(source).name}-{digest}"
    if not (root / _INDEX).is_file():
        with atomic_path(root) as partial:
            partial.mkdir()
            lists = {
                split: _write(partial, split, images, container)
                for split, images in container.splits.items()
            }
            write_json(partial / _INDEX, lists)
    splits = {
        split: Split(
            paths=tuple(root / name for name, _ in lines),
            labels=tuple(label for _, label in lines),
        )
        for split, lines in read_json(root / _INDEX).items()
    }
    check_trained(container.classes, splits["train"], Path(source))
    if len(splits) == 1:
        train, test = hold_out(splits["train"], test_fraction, seed=seed, root=root)
        splits = {"train": train, "test": test}
    if "val" not in splits:
        train, val = hold_out(splits["train"], val_fraction, seed=seed, root=root)
        splits |= {"train": train, "val": val}
    return ImageTask(
        name=Path(source).name,
        root=root,
        layout=container.layout,
        classes=tuple(container.classes),
        splits={name: splits[name] for name in ("train", "val", "test") if splits.get(name)},
    )


def _write(
    root: Path, split: str, images: Iterable[tuple[bytes, int]], container: Container
) -> list[tuple[str, int]]:
    (root / split).mkdir()
    lines = []
    for index, (content, label) in enumerate(images):
        if not 0 <= label < len(container.classes):
            raise UserError(
                f"{container.name} has the label {label} in {split}: expected labels from 0 to"
                f" {len(container.classes) - 1}."
            )
        name = f"{split}/{index:06d}{_suffix(content)}"
        (root / name).write_bytes(content)
        lines.append((name, label))
    return lines


def _suffix(content: bytes) -> str:
    found = (suffix for start, suffix in _SUFFIX_OF_START if content.startswith(start))
    return next(found, ".bin")

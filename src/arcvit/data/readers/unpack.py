"""Data sets in containers (parquet, arrow, tar), unpacked once into files in the cache.

The rest of the package reads image files. Their bytes are written as they are, so nothing is
re-encoded; the cache can be removed at any time.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path, read_json, write_json
from arcvit.core.task import Kind
from arcvit.core.turns import one_at_a_time
from arcvit.data.readers.finish import finish
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.task import Split

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
    splits: Mapping[str, Iterable[tuple[bytes, tuple[int, ...]]]]
    """File content and labels of each image of ``train``, ``val`` and ``test``; read once."""
    kind: Kind = "single"
    """Whether an image has one label or any number of them."""


def unpack(container: Container, opening: Opening) -> Reading:
    """Write the images to the cache, unless they are there, and give the task.

    Splits that are missing are held out as those of class folders are.

    Raises:
        UserError: no train split, or a label out of range.
    """
    source = Path(container.name)
    if "train" not in container.splits:
        there = ", ".join(container.splits) or "none"
        raise UserError(f"{source} has no split 'train': its splits are {there}.")
    key = f"{container.kind}\n{container.key}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    root = Path.home() / CACHE / f"{source.name}-{digest}"
    if not (root / _INDEX).is_file():
        with one_at_a_time(root.with_name(f".{root.name}.lock")):
            # Another process may have been before us.
            if not (root / _INDEX).is_file():
                _unpack_into(root, container)
    splits = {
        split: Split.of_sets(((root / n, labels) for n, labels in lines), kind=container.kind)
        for split, lines in read_json(root / _INDEX).items()
        if lines or split == "train"
    }
    with contextlib.suppress(OSError):
        os.utime(root)  # when it was last used
    alone = len(splits) == 1
    return finish(
        source,
        opening,
        layout=container.layout,
        root=root,
        classes=container.classes,
        splits=splits,
        holds_out=("test", "val") if alone else ("val",),
        absent=dict.fromkeys(("val", "test"), "there is a train split alone") if alone else {},
    )


def _unpack_into(root: Path, container: Container) -> None:
    with atomic_path(root) as partial:
        partial.mkdir()
        lists = {
            split: _write(partial, split, images, container)
            for split, images in container.splits.items()
        }
        write_json(partial / _INDEX, lists)


def stamps(files: Iterable[Path]) -> list[str]:
    """What tells that a file has changed, for a container's key."""
    stats = ((file, file.stat()) for file in files if file.is_file())
    return [f"{file}:{stat.st_size}:{stat.st_mtime_ns}" for file, stat in stats]


def _write(
    root: Path, split: str, images: Iterable[tuple[bytes, tuple[int, ...]]], container: Container
) -> list[tuple[str, tuple[int, ...]]]:
    (root / split).mkdir()
    lines = []
    for index, (content, labels) in enumerate(images):
        wrong = [label for label in labels if not 0 <= label < len(container.classes)]
        if wrong:
            raise UserError(
                f"{container.name} has the label {wrong[0]} in {split}: expected labels from 0 to"
                f" {len(container.classes) - 1}."
            )
        name = f"{split}/{index:06d}{_suffix(content)}"
        (root / name).write_bytes(content)
        lines.append((name, labels))
    return lines


def _suffix(content: bytes) -> str:
    found = (suffix for start, suffix in _SUFFIX_OF_START if content.startswith(start))
    return next(found, ".bin")

"""WebDataset shards: ``train-000000.tar`` with ``KEY.png`` (or jpg, ...) and ``KEY.cls``."""

import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.extras import require
from arcvit.data.findings import examples
from arcvit.data.readers.lists import is_label, read_names
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.readers.unpack import Container, stamps, unpack
from arcvit.data.task import IMAGE_SUFFIXES, split_named

_SHARD = re.compile(r"([a-z]+)[-_]\d+\.tar", re.IGNORECASE)


def recognises(path: Path) -> bool:
    """Whether a folder holds shards."""
    return bool(_shards(path))


def read(path: Path, opening: Opening) -> Reading:
    """Read shards with the library ``webdataset`` and unpack them into the cache.

    Labels are whole numbers from 0; class names are the lines of ``classes.txt``, or the numbers.

    Raises:
        UserError: the library isn't installed, a sample without image or label, and what
            ``unpack`` refuses.
    """
    shards = _shards(path)
    if (path / "classes.txt").is_file():
        classes = read_names(path / "classes.txt")
    else:
        # Labels have to be known before images are numbered, so the shards are read twice.
        labels = {label for split in shards for _, label in _samples(shards[split])}
        classes = tuple(map(str, range(max(labels, default=-1) + 1)))
    files = [file for split in shards.values() for file in split]
    return unpack(
        Container(
            name=str(path.resolve()),
            layout="webdataset",
            key="\n".join([*stamps(files), *classes]),
            classes=classes,
            splits={split: _samples(files) for split, files in shards.items()},
        ),
        opening,
    )


def _shards(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.tar")):
        match = _SHARD.fullmatch(file.name) if file.is_file() else None
        split = split_named(match[1]) if match else None
        if split is not None:
            found.setdefault(split, []).append(file)
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _samples(files: list[Path]) -> Iterator[tuple[bytes, int]]:
    require("webdataset", str(files[0]))
    import webdataset

    urls = [str(file) for file in files]
    for sample in _whole(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False), files):
        where = f"{sample['__url__']} sample {sample['__key__']}"
        images = [key for key in sample if f".{key.casefold()}" in IMAGE_SUFFIXES]
        label = sample.get("cls", b"").decode("ascii", "replace").strip()
        if len(images) != 1 or not is_label(label):
            keys = ", ".join(key for key in sample if not key.startswith("__"))
            raise UserError(f"{where} holds {keys}: expected one image and a whole number in .cls.")
        yield sample[images[0]], int(label)


def _whole(samples: Iterable[dict[str, Any]], files: list[Path]) -> Iterator[dict[str, Any]]:
    """The samples of shards, with a sentence where one of them is cut off or no tar file."""
    try:
        yield from samples
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(
            f"one of the shards {examples(files, most=5)} can't be read ({error}): expected whole"
            " tar files, copy them again."
        ) from error

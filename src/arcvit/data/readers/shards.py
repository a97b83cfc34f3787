"""WebDataset shards: ``train-000000.tar`` with ``KEY.png`` (or jpg, ...) and ``KEY.cls``."""

import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError, nearest
from arcvit.core.extras import require
from arcvit.data.findings import examples
from arcvit.data.readers.columns import are_rows_of_flags
from arcvit.data.readers.lists import is_label, read_names
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.readers.unpack import Container, stamps, unpack
from arcvit.data.task import IMAGE_SUFFIXES, class_name, split_named

Label = int | str
"""A class by its index or by its name."""

_SHARD = re.compile(r"([a-z]+)[-_]\d+\.tar", re.IGNORECASE)


def recognises(path: Path) -> bool:
    """Whether a folder holds shards."""
    return bool(_shards(path))


def read(path: Path, opening: Opening) -> Reading:
    """Read shards with the library ``webdataset`` and unpack them into the cache.

    Labels are whole numbers from 0 in ``.cls``, class names the lines of ``classes.txt``, or the
    numbers. Those of a multilabel task are a list in ``.json``, or in ``labels`` of an object
    there: of such numbers, or of class names.

    Raises:
        UserError: the library isn't installed, a sample without image or label, and what
            ``unpack`` refuses.
    """
    shards = _shards(path)
    read_labels = _one_label if opening.kind == "single" else _labels
    if (path / "classes.txt").is_file():
        classes = read_names(path / "classes.txt")
    else:
        # Labels have to be known before images are numbered, so the shards are read twice.
        found = (own for split in shards for _, own in _samples(shards[split], read_labels))
        classes = _classes(path, {label for labels in found for label in labels})
    index_of = {name: index for index, name in enumerate(classes)}

    def indices(labels: tuple[Label, ...]) -> tuple[int, ...]:
        unknown = [label for label in labels if isinstance(label, str) and label not in index_of]
        if unknown:
            raise UserError(
                f"{path} has the label {unknown[0]!r}, which isn't in classes.txt: add it there, or"
                f" correct the label.{nearest(unknown[0], classes)}"
            )
        return tuple(index_of[label] if isinstance(label, str) else label for label in labels)

    def images(of_split: list[Path]) -> Iterator[tuple[bytes, tuple[int, ...]]]:
        rows = []
        for image, own in _samples(of_split, read_labels):
            rows.append(own)
            yield image, indices(own)
        if are_rows_of_flags(rows):
            raise UserError(
                f"{path} has a row of 0 and 1 for each image: expected a list of the labels that it"
                " has, by name or number."
            )

    files = [file for split in shards.values() for file in split]
    return unpack(
        Container(
            name=str(path.resolve()),
            layout="webdataset",
            key="\n".join([*stamps(files), *classes]),
            classes=classes,
            splits={split: images(of_split) for split, of_split in shards.items()},
            kind=opening.kind,
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


def _classes(path: Path, labels: set[Label]) -> tuple[str, ...]:
    names = sorted(label for label in labels if isinstance(label, str))
    numbers = [label for label in labels if isinstance(label, int)]
    if names and numbers:
        raise UserError(
            f"{path} has labels by name, as {names[0]!r}, and by number, as {numbers[0]}: expected"
            " one of the two, or the names in classes.txt."
        )
    return tuple(names) or tuple(map(str, range(max(numbers, default=-1) + 1)))


def _one_label(sample: dict[str, Any]) -> tuple[Label, ...] | None:
    text = sample.get("cls", b"").decode("ascii", "replace").strip()
    return (int(text),) if is_label(text) else None


def _labels(sample: dict[str, Any]) -> tuple[Label, ...] | None:
    try:
        told = json.loads(sample.get("json", b""))
    except (ValueError, RecursionError):
        return None
    told = told.get("labels") if isinstance(told, dict) else told
    if not isinstance(told, list) or {type(label) for label in told} not in ({int}, {str}, set()):
        return None
    return tuple(class_name(label) if isinstance(label, str) else label for label in told)


def _samples(
    files: list[Path], read_labels: Callable[[dict[str, Any]], tuple[Label, ...] | None]
) -> Iterator[tuple[bytes, tuple[Label, ...]]]:
    require("webdataset", str(files[0]))
    import webdataset

    urls = [str(file) for file in files]
    for sample in _whole(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False), files):
        where = f"{sample['__url__']} sample {sample['__key__']}"
        images = [key for key in sample if f".{key.casefold()}" in IMAGE_SUFFIXES]
        labels = read_labels(sample)
        if len(images) != 1 or labels is None:
            keys = ", ".join(key for key in sample if not key.startswith("__"))
            wanted = "a whole number in .cls"
            if read_labels is _labels:
                wanted = "a list of class names or whole numbers in .json"
            raise UserError(f"{where} holds {keys}: expected one image and {wanted}.")
        yield sample[images[0]], labels


def _whole(samples: Iterable[dict[str, Any]], files: list[Path]) -> Iterator[dict[str, Any]]:
    """The samples of shards, with a sentence where one of them is cut off or no tar file."""
    try:
        yield from samples
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(
            f"one of the shards {examples(files, most=5)} can't be read ({error}): expected whole"
            " tar files, copy them again."
        ) from error

"""Hugging Face ``datasets``: a name on the hub, or its parquet, arrow and imagefolder forms here.

``hf:NAME``, or ``hf:NAME:CONFIG`` for a data set that has several; a folder; or one file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.extras import require
from arcvit.data.readers.hub_labels import LabelColumn, label_column
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.readers.unpack import Container, stamps, unpack
from arcvit.data.task import split_named

PREFIX = "hf:"
BUILDER_OF_SUFFIX = {".parquet": "parquet", ".arrow": "arrow"}
_SAVED = ("dataset_dict.json", "dataset_info.json")


def recognises(path: Path) -> bool:
    """Whether it is a name on the hub, or parquet, arrow or an imagefolder here.

    An imagefolder without ``metadata.csv`` or ``.jsonl`` is a folder of class folders.
    """
    if is_hub_name(path):
        return True
    if path.is_file():
        return path.suffix.lower() in BUILDER_OF_SUFFIX
    saved = any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
    return saved or bool(_parquet_files(path)) or _has_metadata(path)


def is_hub_name(path: str | Path) -> bool:
    """Whether a path is ``hf:NAME`` and nothing that lies here."""
    return str(path).startswith(PREFIX)


def read(path: Path, opening: Opening) -> Reading:
    """Read a data set with the library ``datasets`` and unpack it into the cache.

    The image column is the one of that kind; ``label_column`` finds that of labels. Splits are
    called train, validation (valid, val) and test; others are left out. A file has no splits.

    Raises:
        UserError: the library isn't installed, the name can't be had, no image or label column, and
            what ``unpack`` refuses.
    """
    source = str(path)
    tables = _load(source)
    first = next(iter(tables.values()))
    image = _image_column(source, first.features)
    label = label_column(source, first.features, opening)
    classes, index_of = label.classes(tables)
    key = [source, str(label), str(classes)]
    for split, table in tables.items():
        files = [Path(file["filename"]) for file in table.cache_files]
        key += [split, str(len(table)), *stamps(files)]
    return unpack(
        Container(
            name=source.removeprefix(PREFIX),
            layout="datasets",
            key="\n".join(key),
            classes=classes,
            splits={
                split: _images(source, table, image, label, index_of)
                for split, table in tables.items()
            },
            kind=opening.kind,
        ),
        opening,
    )


def _load(source: str) -> dict[str, Any]:
    require("datasets", source)
    import datasets

    folder = Path(source)
    builder = BUILDER_OF_SUFFIX.get(folder.suffix.lower())
    try:
        if is_hub_name(source):
            name, _, config = source.removeprefix(PREFIX).partition(":")
            loaded = datasets.load_dataset(name, config or None)
        elif builder and folder.is_file():
            loaded = datasets.load_dataset(builder, data_files=source)
        elif any((folder / name).is_file() for name in _SAVED):
            loaded = datasets.load_from_disk(source)
        elif _has_metadata(folder):
            loaded = datasets.load_dataset("imagefolder", data_dir=source)
        else:
            loaded = datasets.load_dataset("parquet", data_files=_files_of_split(folder))
    # What a name that can't be had raises depends on the library, the network and the hub.
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        # Of damage the library says only that there was an error; what it was is the cause.
        says_nothing = isinstance(error, datasets.exceptions.DatasetGenerationError)
        cause = (says_nothing and error.__cause__) or error
        raise UserError(
            f"{source} can't be loaded ({type(cause).__name__}: {' '.join(str(cause).split())}):"
            " expected a name on the hub that can be reached from here, or a file or folder that"
            " datasets or save_to_disk wrote."
        ) from error
    if not isinstance(loaded, dict):
        loaded = {"train": loaded}
    named = {split_named(str(split)): table for split, table in loaded.items()}
    return {split: named[split] for split in ("train", "val", "test") if split in named} or {
        "train": next(iter(loaded.values()))
    }


def _image_column(source: str, features: Any) -> str:
    import datasets

    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    if not images and "image" in features:
        images = ["image"]
    if len(images) != 1:
        raise UserError(f"{source} has the columns {', '.join(features)}: expected one of images.")
    return str(images[0])


def _images(
    source: str, table: Any, image: str, label: LabelColumn, index_of: dict[Any, int]
) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    import datasets

    raw = table.cast_column(image, datasets.Image(decode=False))
    for row, record in enumerate(raw.select_columns([image, label.name])):
        cell = record[image] or {"bytes": None, "path": None}
        content = cell["bytes"]
        if content is None and cell["path"] and Path(cell["path"]).is_file():
            content = Path(cell["path"]).read_bytes()
        if not content:
            raise UserError(f"{source} has no image in row {row}: remove that row.")
        values = label.values(record[label.name])
        if not values and label.delimiter is None:
            raise UserError(f"{source} has no label in row {row}: remove that row.")
        yield content, tuple(index_of.get(value, -1) for value in values)


def _has_metadata(folder: Path) -> bool:
    names = ("metadata.csv", "metadata.jsonl")
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    places = (folder, *(path for path in inside if path.is_dir() and split_named(path.name)))
    return any((place / name).is_file() for place in places for name in names)


def _parquet_files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))
    return [file for file in found if file.is_file()]


def _files_of_split(folder: Path) -> dict[str, list[str]]:
    """Parquet files by split, told from the start of their names: ``train-00000-of-00002``."""
    found: dict[str, list[str]] = {}
    for file in _parquet_files(folder):
        word = file.stem.replace("_", "-").split("-")[0].casefold()
        split = split_named(word)
        if split is None:
            raise UserError(
                f"{file} has a name that says no split: expected one that begins with"
                " train, val or test."
            )
        found.setdefault(split, []).append(str(file))
    return found

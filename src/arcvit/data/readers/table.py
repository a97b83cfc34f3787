"""A table of images: CSV or TSV with a path, a label and optionally a split in each row."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from arcvit.core.errors import UserError, nearest
from arcvit.data.readers.checks import check_classes, check_files_there, check_trained, read_text
from arcvit.data.readers.folders import SPLIT_OF_FOLDER
from arcvit.data.readers.holdout import hold_out
from arcvit.data.task import ImageTask, Split

DELIMITER_OF_SUFFIX = {".csv": ",", ".tsv": "\t"}
DEFAULT_SPLIT_COLUMN = "split"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image of a table."""

    line: int
    """Line number in the file, from 1."""
    path: Path
    label: str
    split: str | None
    """``train``, ``val`` or ``test``; None where the table has no split column."""


def read_table(
    file: Path,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    path_column: str,
    label_column: str,
    split_column: str,
) -> ImageTask:
    """Read a task from a table.

    Labels are class names, sorted by number if all of them are whole numbers. Without a split
    column the images are divided as a single folder of class folders is.

    Args:
        file: a ``.csv`` or ``.tsv`` file in UTF-8 whose first row names the columns.
        val_fraction: share of every class to hold out for validation, in [0, 1).
        test_fraction: share of every class to hold out for the test, in [0, 1).
        seed: decides which images are held out.
        path_column: column of image paths, relative to the folder of the file.
        label_column: column of labels.
        split_column: column of splits. Only the default name may be missing from the table.

    Raises:
        UserError: a missing column, an empty or unknown value, a repeated image, images that are
            not there, a class without train images, one class.
    """
    rows = list(_rows(file, path_column, label_column, split_column))
    _refuse_repeats(rows, file)
    check_files_there((row.path for row in rows), file)
    classes = _sorted_names([row.label for row in rows])
    check_classes(classes, file)

    if any(row.split for row in rows):
        splits = {
            name: _labelled([row for row in rows if row.split == name], classes)
            for name in ("train", "val", "test")
        }
        check_trained(classes, splits["train"], file)
    else:
        images = _labelled(rows, classes)
        train, test = hold_out(images, test_fraction, seed=seed, root=file.parent)
        splits = {"train": train, "test": test}
    if not splits.get("val"):
        train, val = hold_out(splits["train"], val_fraction, seed=seed, root=file.parent)
        splits |= {"train": train, "val": val}
    return ImageTask(
        name=file.stem,
        root=file.parent,
        layout="table",
        classes=classes,
        splits={s: splits[s] for s in ("train", "val", "test") if splits.get(s)},
    )


def _rows(file: Path, path_column: str, label_column: str, split_column: str) -> Iterator[Row]:
    text = io.StringIO(read_text(file), newline="")
    reader = csv.reader(text, delimiter=DELIMITER_OF_SUFFIX[file.suffix.lower()], strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        _check_columns(file, columns, path_column, label_column, split_column)
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if len(values) > len(columns):
                raise UserError(
                    f"{file} line {reader.line_num} has {len(values)} values: expected"
                    f" {len(columns)}, put quotes around a value that holds the delimiter."
                )
            cells = {name: value.strip() for name, value in zip(columns, values, strict=False)}
            for name in (path_column, label_column):
                if not cells.get(name):
                    raise UserError(
                        f"{file} line {reader.line_num} has an empty '{name}': expected a value,"
                        " fill it in or remove the line."
                    )
            split = None
            if split_column in columns:
                split = _split_name(file, reader.line_num, cells.get(split_column, ""))
            path = file.parent / cells[path_column]
            yield Row(line=reader.line_num, path=path, label=cells[label_column], split=split)
    except csv.Error as error:
        raise UserError(f"{file} line {reader.line_num} can't be read: {error}.") from error


def _check_columns(
    file: Path, columns: list[str], path_column: str, label_column: str, split_column: str
) -> None:
    wanted = [path_column, label_column]
    if split_column != DEFAULT_SPLIT_COLUMN:
        wanted.append(split_column)
    for name in wanted:
        if columns.count(name) != 1:
            state = "no column" if name not in columns else "more than one column"
            raise UserError(
                f"{file} has {state} '{name}': its columns are"
                f" {', '.join(map(repr, columns)) or 'none'}, rename one or say which to use."
                f"{nearest(name, columns) if name not in columns else ''}"
            )


def _split_name(file: Path, line: int, value: str) -> str:
    name = SPLIT_OF_FOLDER.get(value.casefold())
    if name is None:
        raise UserError(
            f"{file} line {line} has the split {value!r}: expected one of"
            f" {', '.join(SPLIT_OF_FOLDER)}.{nearest(value, SPLIT_OF_FOLDER)}"
        )
    return name


def _refuse_repeats(rows: Sequence[Row], file: Path) -> None:
    line_of: dict[Path, int] = {}
    for row in rows:
        if row.path in line_of:
            raise UserError(
                f"{file} lists {row.path} in lines {line_of[row.path]} and {row.line}: expected"
                " each image once, remove one."
            )
        line_of[row.path] = row.line


def _sorted_names(labels: Sequence[str]) -> tuple[str, ...]:
    names = sorted(dict.fromkeys(labels))
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(names)


def _labelled(rows: Sequence[Row], classes: Sequence[str]) -> Split:
    label_of = {name: label for label, name in enumerate(classes)}
    return Split(
        paths=tuple(row.path for row in rows), labels=tuple(label_of[row.label] for row in rows)
    )

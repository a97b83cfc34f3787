"""A table of images: CSV or TSV with a path, a label and optionally a split in each row."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from arcvit.core.errors import UserError, nearest
from arcvit.data.readers.finish import finish
from arcvit.data.readers.lists import list_findings, read_text
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.task import SPLIT_OF_NAME, Split

DELIMITER_OF_SUFFIX = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image of a table."""

    line: int
    """Line number in the file, from 1."""
    path: Path
    label: str
    split: str | None
    """``train``, ``val`` or ``test``; None where the table has no split column."""


def recognises(path: Path) -> bool:
    """Whether a file is a table by its name."""
    return path.suffix.lower() in DELIMITER_OF_SUFFIX and path.is_file()


def read(path: Path, opening: Opening) -> Reading:
    """Read a task from a table in UTF-8 whose first row names the columns.

    Paths are relative to the folder of the file. Labels are class names, sorted by number if all of
    them are whole numbers. Without a split column the images are divided as a single folder of
    class folders is.

    Raises:
        UserError: a missing column, or a file that is no table.
    """
    rows: dict[Path, Row] = {}
    mistakes: list[str] = []
    repeats = []
    for row in _rows(path, opening, mistakes):
        first = rows.setdefault(row.path, row)
        if first is not row:
            text = f"lists {row.path} in lines {first.line} and {row.line}: expected each image"
            repeats.append(f"{text} once, remove one")
    divided = any(row.split for row in rows.values())
    classes = _sorted_names([row.label for row in rows.values()])
    label_of = {name: label for label, name in enumerate(classes)}
    pairs: dict[str, list[tuple[Path, int]]] = {"train": []}
    for row in rows.values():
        pairs.setdefault(row.split or "train", []).append((row.path, label_of[row.label]))
    splits = {split: Split.of(of_split) for split, of_split in pairs.items()}
    return finish(
        path,
        opening,
        layout="table",
        root=path.parent,
        classes=classes,
        splits=splits,
        lists=dict.fromkeys(splits, path),
        holds_out=("val",) if divided else ("test", "val"),
        absent={} if divided else dict.fromkeys(("val", "test"), "there is no column of splits"),
        findings=list_findings(path, mistakes=mistakes, repeats=repeats),
    )


def _rows(file: Path, opening: Opening, mistakes: list[str]) -> Iterator[Row]:
    """The rows that can be understood; what is wrong with the others is added to the mistakes."""
    text = io.StringIO(read_text(file), newline="")
    reader = csv.reader(text, delimiter=DELIMITER_OF_SUFFIX[file.suffix.lower()], strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        _check_columns(file, columns, opening)
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            stripped = (value.strip() for value in values)
            cells = dict.fromkeys(columns, "") | dict(zip(columns, stripped, strict=False))
            wrong = _mistake(cells, len(values), opening)
            if wrong:
                mistakes.append(f"line {reader.line_num} has {wrong}")
                continue
            split = cells.get(opening.split_column)
            yield Row(
                line=reader.line_num,
                path=file.parent / cells[opening.path_column],
                label=cells[opening.label_column],
                split=None if split is None else SPLIT_OF_NAME[split.casefold()],
            )
    except csv.Error as error:
        raise UserError(f"{file} line {reader.line_num} can't be read: {error}.") from error


def _check_columns(file: Path, columns: list[str], opening: Opening) -> None:
    wanted = [opening.path_column, opening.label_column]
    if opening.split_column != Opening.split_column:
        wanted.append(opening.split_column)
    for name in wanted:
        if columns.count(name) != 1:
            state = "no column" if name not in columns else "more than one column"
            raise UserError(
                f"{file} has {state} '{name}': its columns are"
                f" {', '.join(map(repr, columns)) or 'none'}, rename one or say which to use."
                f"{nearest(name, columns) if name not in columns else ''}"
            )


def _mistake(cells: dict[str, str], count: int, opening: Opening) -> str:
    """What is wrong with a line of ``count`` values; empty where nothing is."""
    if count > len(cells):
        expected = f"expected {len(cells)}, put quotes around a value that holds the delimiter"
        return f"{count} values: {expected}"
    for name in (opening.path_column, opening.label_column):
        if not cells[name]:
            return f"an empty '{name}': expected a value, fill it in or remove the line"
    split = cells.get(opening.split_column, "train")
    if split.casefold() not in SPLIT_OF_NAME:
        return f"the split {split!r}: expected one of {', '.join(map(repr, SPLIT_OF_NAME))}"
    return ""


def _sorted_names(labels: Sequence[str]) -> tuple[str, ...]:
    names = sorted(dict.fromkeys(labels))
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(names)

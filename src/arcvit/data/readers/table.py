"""A table of images: CSV or TSV with a path, a label and optionally a split in each row."""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.data.findings import Finding, examples, spoils, warning
from arcvit.data.readers.columns import check_columns, column_named, split_column, unread_splits
from arcvit.data.readers.finish import finish
from arcvit.data.readers.labelling import Labelling, labelling_of
from arcvit.data.readers.lists import list_findings, read_text, refuse_many_classes
from arcvit.data.readers.reader import LABEL_COLUMN, Opening, Reading
from arcvit.data.task import JOINT, Split, class_name, split_named

DELIMITER_OF_SUFFIX = {".csv": ",", ".tsv": "\t"}
_DELIMITERS = ",;\t|"
_MOST_COLUMNS = 10_000
_MOST_SLICES = 20
"""A column of more values, as of names or measurements, tells too little of each."""
_LOOKED_AT = 100_000
"""Characters of the first line that the delimiter is told from."""

Line = tuple[int, list[str]]
"""Its number in the file, from 1, and its values."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image of a table."""

    line: int
    """Line number in the file, from 1."""
    path: Path
    labels: tuple[str, ...]
    split: str | None
    """``train``, ``val`` or ``test``; None where the table has no split column."""
    group: str
    """What it shows; empty where the table has no such column."""
    further: dict[str, str]
    """The values of further columns."""


def recognises(path: Path) -> bool:
    """Whether a file is a table by its name."""
    return path.suffix.lower() in DELIMITER_OF_SUFFIX and path.is_file()


def read(path: Path, opening: Opening) -> Reading:
    """Read a task from a table in UTF-8 whose first row names the columns.

    Paths are relative to the folder of the file. Labels are class names, sorted by number if all of
    them are whole numbers; ``Labelling`` says where they stand. Without a split column the images
    are divided as a single folder of class folders is.

    Raises:
        UserError: a missing column, or a file that is no table.
    """
    rows: dict[Path, Row] = {}
    mistakes: list[str] = []
    repeats = []
    columns, lines = _lines(path, opening)
    cells = [values for _, values in lines]
    labelling = labelling_of(path, columns, cells, opening)
    check_columns(path, columns, cells, labelling.columns, opening)
    for row in _rows(path, columns, lines, labelling, opening, mistakes):
        if opening.leaves_out(row.path, path.parent):
            continue
        first = rows.setdefault(row.path, row)
        if first is not row:
            text = f"lists {row.path} in lines {first.line} and {row.line}: expected each image"
            repeats.append(f"{text} once, {labelling.if_repeated}")
    divided = any(row.split for row in rows.values())
    classes = _sorted_names([name for row in rows.values() for name in row.labels])
    if labelling.form == "flags":
        classes = _sorted_names([class_name(name) for name in labelling.columns])
    label_of = {name: label for label, name in enumerate(classes)}
    pairs: dict[str, list[tuple[Path, list[int]]]] = {"train": []}
    for row in rows.values():
        labels = [label_of[name] for name in row.labels]
        pairs.setdefault(row.split or "train", []).append((row.path, labels))
    splits = {s: Split.of_sets(of_split, kind=opening.kind) for s, of_split in pairs.items()}
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
        findings=[
            *_joint_names(path, rows.values(), labelling, opening, mistakes),
            *list_findings(path, mistakes=mistakes, repeats=repeats),
            *unread_splits(path, columns, labelling.columns, opening),
        ],
        groups={row.path: row.group for row in rows.values()} if opening.group_column else None,
        further=_further(rows.values()),
    )


def _joint_names(
    file: Path,
    rows: Iterable[Row],
    labelling: Labelling,
    opening: Opening,
    mistakes: Sequence[str],
) -> list[Finding]:
    """Cells that look like several labels and are read as one, or that are lists."""
    cells = [row.labels for row in rows]
    if labelling.form == "flags":
        return []
    sign = labelling.delimiter
    if labelling.form == "names" and (lists := [c for c in cells if _is_list(sign.join(c))]):
        text = f"{file} has labels written as a list, as in {sign.join(lists[0])!r}: expected them"
        return [spoils("joint-labels", f"{text} without brackets and quotes, as a{sign}b.")]
    if any(len(labels) > 1 for labels in cells):
        return []
    signs = JOINT if labelling.form == "name" else _DELIMITERS.replace(labelling.delimiter, "")
    joint = [repr(n) for n in dict.fromkeys(sum(cells, ())) if any(sign in n for sign in signs)]
    if not joint:
        return []
    text = f"{file} has {len(joint):,} class(es) that look like several labels, {examples(joint)}:"
    if labelling.form == "name":
        text += " each is read as one name, " + opening.or_task(
            f"--task multilabel splits them at {JOINT!r}.", "as an image has one label here."
        )
    else:
        text += f" no cell is split at {labelling.delimiter!r}, say what stands between labels with"
        text += " --data.label_delimiter."
    # Of lines that have no label either it is the reason, and told first.
    return [(spoils if mistakes else warning)("joint-labels", text)]


def _is_list(cell: str) -> bool:
    """Whether a cell is a list as programs write it, such as ``['a', 'b']`` and ``{a,b}``."""
    is_bracketed = re.fullmatch(r"\[[^][]*\]|\{[^{}]*\}", cell) is not None
    return is_bracketed and (not cell[1:-1].strip() or any(sign in cell for sign in "'\","))


def _further(rows: Collection[Row]) -> dict[str, dict[Path, str]]:
    """What further columns say of the images, where they divide them into some parts."""
    found = {}
    for name in next(iter(rows)).further if rows else ():
        values = {row.path: row.further[name] for row in rows if row.further[name]}
        if 2 <= len(set(values.values())) <= _MOST_SLICES:
            found[name] = values
    return found


def _lines(file: Path, opening: Opening) -> tuple[list[str], list[Line]]:
    """The names of the columns, and the lines that aren't empty."""
    text = read_text(file)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=_delimiter(file, text, opening), strict=True
    )
    lines: list[Line] = []
    labels: set[str] = set()
    try:
        columns = [class_name(name.strip()) for name in next(filter(any, reader), [])]
        if len(columns) > _MOST_COLUMNS:
            raise UserError(
                f"{file} has {len(columns):,} columns: expected one of paths and one of labels."
            )
        label = column_named(opening.label_column or LABEL_COLUMN, columns)
        place = columns.index(label) if label in columns else len(columns)
        for values in reader:
            lines.append((reader.line_num, [value.strip() for value in values]))
            for cell in values[place : place + 1]:
                several = opening.kind == "multilabel"
                labels.update(cell.split(opening.label_delimiter) if several else [cell])
            refuse_many_classes(len(labels), file)
    except csv.Error as error:
        raise UserError(f"{file} line {reader.line_num} can't be read: {error}.") from error
    return columns, [(line, values) for line, values in lines if any(values)]


def _rows(
    file: Path,
    columns: list[str],
    lines: list[Line],
    labelling: Labelling,
    opening: Opening,
    mistakes: list[str],
) -> Iterator[Row]:
    """The rows that can be understood; what is wrong with the others is added to the mistakes."""
    path = column_named(opening.path_column, columns)
    group = column_named(opening.group_column or "", columns)
    split = split_column(columns, opening)
    read = {path, split, *labelling.columns}
    counted = Counter(columns)
    further = [name for name, count in counted.items() if name not in read and count == 1]
    for line, values in lines:
        # Values at the end may be missing; more than there are columns are a mistake.
        cells = dict.fromkeys(columns, "") | dict(zip(columns, values, strict=False))
        wrong = _mistake(cells, len(values), (path, group), split) or labelling.mistake(cells)
        if wrong:
            mistakes.append(f"line {line} has {wrong}")
            continue
        yield Row(
            line=line,
            path=file.parent / cells[path],
            labels=labelling.labels(cells),
            split=None if split is None else split_named(cells[split]),
            group=cells[group] if group else "",
            further={name: cells[name] for name in further},
        )


def _delimiter(file: Path, text: str, opening: Opening) -> str:
    """What stands between the columns: what gives a column of paths, else the most frequent."""
    own = DELIMITER_OF_SUFFIX[file.suffix.lower()]
    header = text.lstrip().split("\n", 1)[0][:_LOOKED_AT]
    for sign in (own, *_DELIMITERS):
        names = [name.strip(' "\r').casefold() for name in header.split(sign)]
        if opening.path_column.casefold() in names:
            return sign
    return (
        own
        if own in header
        else max(_DELIMITERS, key=lambda sign: (header.count(sign), sign == own))
    )


def _mistake(cells: dict[str, str], count: int, needed: Sequence[str], split: str | None) -> str:
    """What is wrong with a line of ``count`` values; empty where nothing is."""
    if count > len(cells):
        expected = f"expected {len(cells)}, put quotes around a value that holds the delimiter"
        return f"{count} values: {expected}"
    for name in needed:
        if name and not cells[name]:
            return f"an empty '{name}': expected a value, fill it in or remove the line"
    if split is not None and split_named(cells[split]) is None:
        return f"the split {cells[split]!r}: expected one of 'train', 'val', 'test'"
    return ""


def _sorted_names(labels: Sequence[str]) -> tuple[str, ...]:
    names = sorted(dict.fromkeys(labels))
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(names)

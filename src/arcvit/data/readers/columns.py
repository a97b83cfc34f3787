"""Which columns of a table hold paths, labels and splits, and what to say where they don't."""

from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from arcvit.core.errors import UserError, nearest
from arcvit.data.findings import Finding, examples, warning
from arcvit.data.readers.reader import Opening
from arcvit.data.task import IMAGE_SUFFIXES, split_named

_LIKE_SPLITS = ("split", "set", "subset", "fold", "kfold", "partition", "phase", "usage")
_SPLIT_FLAGS = ("train", "training", "val", "valid", "validation", "test")
_TRUTH = ("0", "1", "true", "false", "yes", "no", "0.0", "1.0")
_SPLITS_AT_MOST = 6
_LOOKED_AT = 1000
"""As many rows are looked at to guess what a column holds."""

Rows = Sequence[Sequence[str]]


def column_named(name: str, columns: Sequence[str]) -> str:
    """The column of that name, whatever its case where there is no other; else the name itself."""
    alike = [column for column in columns if column.casefold() == name.casefold()]
    return alike[0] if name not in columns and len(alike) == 1 else name


def split_column(columns: Sequence[str], opening: Opening) -> str | None:
    """The column of splits; None where there is none."""
    name = column_named(opening.split_column, columns)
    return name if name in columns else None


def unread_splits(file: Path, columns: Sequence[str], opening: Opening) -> list[Finding]:
    """Columns that are called as splits often are, and are not read."""
    read = (opening.split_column, opening.label_column, opening.path_column, opening.group_column)
    known = [name.casefold() for name in read if name is not None]
    alike = [c for c in columns if c.casefold() in _LIKE_SPLITS and c.casefold() not in known]
    text = f"{file} has the column {examples(list(map(repr, alike)))}, which isn't read: if it says"
    text += " what is tested on, write train, val and test in a column 'split'."
    return [warning("unread-column", text)] * bool(alike)


def check_columns(file: Path, columns: Sequence[str], rows: Rows, opening: Opening) -> None:
    """Refuse a table whose columns can't be told, and one whose splits would be passed over.

    Raises:
        UserError: says which columns there are, and which flag names the right one.
    """
    wanted = [opening.path_column, opening.label_column]
    wanted += [opening.split_column] if opening.split_column != Opening.split_column else []
    wanted += [opening.group_column] if opening.group_column is not None else []
    for name in wanted:
        count = columns.count(column_named(name, columns))
        if count == 1:
            continue
        if count == 0 and (why := _misread(columns, rows, opening)):
            raise UserError(f"{file} {why}.")
        state = "more than one column" if count else "no column"
        hint = "" if count else _flags(columns, rows, opening) or nearest(name, columns)
        raise UserError(
            f"{file} has {state} '{name}': its columns are"
            f" {', '.join(map(repr, columns)) or 'none'}, rename one or say which to use"
            f"{hint or '.'}"
        )
    if split_column(columns, opening) is None:
        _refuse_other_splits(file, columns, rows, opening)


def _misread(columns: Sequence[str], rows: Rows, opening: Opening) -> str:
    """What a table is that isn't one of paths and labels; empty where that isn't clear."""
    if any(_is_image(name) for name in columns):
        return (
            f"has no line that names its columns, as the first is {', '.join(columns)!r}: put a"
            f" line {opening.path_column},{opening.label_column} above it"
        )
    hot = [
        name
        for index, name in enumerate(columns)
        if (values := _values(rows, index)) and values <= {"0", "1", "0.0", "1.0"}
    ]
    if len(hot) > 1 and column_named(opening.label_column, columns) not in columns:
        return (
            f"has a column of 0 and 1 for each class ({examples(hot)}): expected one column of"
            f" class names, write one and name it with --data.label_column"
        )
    return ""


def _flags(columns: Sequence[str], rows: Rows, opening: Opening) -> str:
    """The flags that name the right columns, where these can be guessed; begins with a colon."""
    paths = [
        name
        for index, name in enumerate(columns)
        if (values := _values(rows, index)) and sum(map(_is_image, values)) * 2 > len(values)
    ]
    path = column_named(opening.path_column, columns)
    if path not in columns:
        path = paths[0] if paths else ""
    label = column_named(opening.label_column, columns)
    if label not in columns:
        others = [
            name
            for index, name in enumerate(columns)
            if name != path and 1 < len(_values(rows, index)) <= max(len(rows) // 2, 2)
        ]
        label = others[0] if others else ""
    flags = [
        f"--data.{kind}_column {name}"
        for kind, name, asked in (
            ("path", path, opening.path_column),
            ("label", label, opening.label_column),
        )
        if name and name.casefold() != asked.casefold()
    ]
    return f", as with {' '.join(flags)}." if flags else ""


def _refuse_other_splits(file: Path, columns: Sequence[str], rows: Rows, opening: Opening) -> None:
    """Refuse a table that has splits in a column of another name: its tests would be trained on."""
    own = {column_named(name, columns) for name in (opening.path_column, opening.label_column)}
    for index, name in enumerate(columns):
        values = _values(rows, index)
        if name in own or not values:
            continue
        named = {split_named(value) for value in values}
        if None not in named:
            raise UserError(
                f"{file} has the splits {examples(sorted(values))} in the column {name!r}: say so"
                f" with --data.split_column {name!r}, or remove the column."
            )
        if "train" in named and len(values) <= _SPLITS_AT_MOST:
            raise UserError(
                f"{file} has splits in the column {name!r} that are called"
                f" {examples(sorted(values))}: expected train, val and test, write those in a"
                " column 'split', or remove the column."
            )
        words = name.casefold().replace("-", "_").split("_")
        is_flag = words[-1] in _SPLIT_FLAGS and {value.casefold() for value in values} <= {*_TRUTH}
        if is_flag:
            raise UserError(
                f"{file} has splits in the column {name!r}: expected a column 'split' that holds"
                " train, val or test, write one or remove the column."
            )


def _values(rows: Rows, index: int) -> set[str]:
    return {row[index] for row in rows[:_LOOKED_AT] if index < len(row) and row[index]}


def _is_image(text: str) -> bool:
    return PureWindowsPath(text).suffix.lower() in IMAGE_SUFFIXES

"""Which columns of a table hold paths, labels and splits, and what to say where they don't."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PureWindowsPath
from shlex import quote

from arcvit.core.errors import UserError, nearest
from arcvit.data.findings import Finding, examples, warning
from arcvit.data.readers.reader import LABEL_COLUMN, Opening
from arcvit.data.task import IMAGE_SUFFIXES, class_name, split_named

_LIKE_SPLITS = ("split", "set", "subset", "fold", "kfold", "partition", "phase", "usage")
_SPLIT_FLAGS = ("train", "training", "val", "valid", "validation", "test")
_TRUTH = ("0", "1", "true", "false", "yes", "no", "0.0", "1.0")
ON = frozenset(("1", "1.0", "true"))
FLAGS = ON | {"0", "0.0", "false", ""}
"""What a column of one class may hold, and holds where an image is of it. Case doesn't count."""
_SPLITS_AT_MOST = 6
_LOOKED_AT = 1000
"""As many rows are looked at to guess what a column holds."""

Rows = Sequence[Sequence[str]]


def column_named(name: str, columns: Sequence[str]) -> str:
    """The column of that name, whatever its case where there is no other; else the name itself."""
    name = class_name(name)
    alike = [column for column in columns if column.casefold() == name.casefold()]
    return alike[0] if name not in columns and len(alike) == 1 else name


def split_column(columns: Sequence[str], opening: Opening) -> str | None:
    """The column of splits; None where there is none."""
    name = column_named(opening.split_column, columns)
    return name if name in columns else None


def unread_splits(
    file: Path, columns: Sequence[str], labels: Sequence[str], opening: Opening
) -> list[Finding]:
    """Columns that are called as splits often are, and are not read."""
    read = (opening.split_column, opening.path_column, opening.group_column, *labels)
    known = [name.casefold() for name in read if name is not None]
    alike = [c for c in columns if c.casefold() in _LIKE_SPLITS and c.casefold() not in known]
    text = f"{file} has the column {examples(list(map(repr, alike)))}, which isn't read: if it says"
    text += " what is tested on, write train, val and test in a column 'split'."
    return [warning("unread-column", text)] * bool(alike)


def check_columns(
    file: Path, columns: Sequence[str], rows: Rows, labels: Sequence[str], opening: Opening
) -> None:
    """Refuse a table whose columns can't be told, and one whose splits would be passed over.

    Args:
        file: the table.
        columns: names of its columns.
        rows: its cells.
        labels: the columns that hold the labels.
        opening: how it is opened.

    Raises:
        UserError: says which columns there are, and which flag names the right one.
    """
    others = [opening.split_column] if opening.split_column != Opening.split_column else []
    others += [opening.group_column] if opening.group_column is not None else []
    wanted = {opening.path_column: column_named(opening.path_column, columns)}
    wanted |= {name: name for name in labels}
    wanted |= {name: column_named(name, columns) for name in others}
    counted = Counter(columns)
    for name, column in wanted.items():
        count = counted[column]
        if count == 1:
            continue
        if count == 0 and (why := _misread(columns, rows, opening)):
            raise UserError(f"{file} {why}.")
        state = "more than one column" if count else "no column"
        hint = "." if count else _flags(columns, rows, opening) or f".{nearest(name, columns)}"
        raise UserError(
            f"{file} has {state} '{name}': its columns are"
            f" {', '.join(map(repr, columns)) or 'none'}, rename one or say which to use"
            f"{hint}"
        )
    if split_column(columns, opening) is None:
        told = opening.label_columns or opening.label_column is not None
        own = {column_named(opening.path_column, columns)}
        own |= set(labels) if told or len(labels) == 1 else set()
        _refuse_other_splits(file, columns, rows, own, has_flags=len(labels) > 1)


def _misread(columns: Sequence[str], rows: Rows, opening: Opening) -> str:
    """What a table is that isn't one of paths and labels; empty where that isn't clear."""
    if any(_is_image(name) for name in columns):
        return (
            f"has no line that names its columns, as the first is {', '.join(columns)!r}: put a"
            f" line {opening.path_column},{opening.label_column or LABEL_COLUMN} above it"
        )
    hot = [name for index, name in enumerate(columns) if are_flags(values_in(rows, index))]
    if len(hot) > 1 and opening.kind == "single":
        return (
            f"has a column of 0 and 1 for each class ({examples(hot)}): expected one column of"
            " class names, write one and name it with --data.label_column"
            + opening.or_task(", or give --task multilabel if an image may be of several classes")
        )
    return ""


def _flags(columns: Sequence[str], rows: Rows, opening: Opening) -> str:
    """The flags that name the right columns, where these can be guessed; begins with a colon."""
    paths = [
        name
        for index, name in enumerate(columns)
        if (values := values_in(rows, index)) and sum(map(_is_image, values)) * 2 > len(values)
    ]
    path = column_named(opening.path_column, columns)
    if path not in columns:
        path = paths[0] if paths else ""
    split = split_column(columns, opening)
    label_column = opening.label_column or LABEL_COLUMN
    label = column_named(label_column, columns)
    if label not in columns:
        others = [
            name
            for index, name in enumerate(columns)
            if name not in (path, split)
            and _may_be_labels(values_in(rows, index), len(rows), opening)
        ]
        label = others[0] if others else ""
    flags = [
        f"--data.{kind}_column {quote(name)}"
        for kind, name, asked in (
            ("path", path, opening.path_column),
            ("label", label, label_column),
        )
        if name and name.casefold() != asked.casefold()
    ]
    return f", as with {' '.join(flags)}." if flags else ""


def _may_be_labels(values: set[str], rows: int, opening: Opening) -> bool:
    if opening.kind == "multilabel":
        return any(opening.label_delimiter in value for value in values)
    return 1 < len(values) <= max(rows // 2, 2)


def _refuse_other_splits(
    file: Path, columns: Sequence[str], rows: Rows, own: set[str], *, has_flags: bool
) -> None:
    """Refuse a table that has splits in a column of another name: its tests would be trained on."""
    for index, name in enumerate(columns):
        values = values_in(rows, index)
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
            classes = " If it is a class, name the classes with --data.label_columns."
            raise UserError(
                f"{file} has splits in the column {name!r}: expected a column 'split' that holds"
                f" train, val or test, write one or remove the column.{classes * has_flags}"
            )


def are_flags(values: set[str]) -> bool:
    """Whether a column of these values says of each image whether it is of one class."""
    return bool(values) and {value.casefold() for value in values} <= FLAGS


def are_rows_of_flags(cells: Iterable[Sequence[object]]) -> bool:
    """Whether lists of labels are rows of 0 and 1 instead, one for each class.

    As numbers of classes they would be two classes that most images are of.
    """
    rows = [tuple(cell) for cell in cells if cell]
    values = {value for row in rows for value in row}
    alike = len({len(row) for row in rows}) == 1 and values <= {0, 1}
    return alike and any(len(set(row)) < len(row) for row in rows)


def beside_flags(values: set[str]) -> list[str]:
    """The numbers other than 0 and 1 in a column that holds these, too, and nothing but numbers."""
    others = {value for value in values if value.casefold() not in FLAGS}
    try:
        return sorted(others, key=float) if len(others) < len(values) else []
    except ValueError:
        return []


def values_in(rows: Rows, index: int) -> set[str]:
    """What the first rows hold in a column, without empty cells."""
    return {row[index] for row in rows[:_LOOKED_AT] if index < len(row) and row[index]}


def _is_image(text: str) -> bool:
    return PureWindowsPath(text).suffix.lower() in IMAGE_SUFFIXES

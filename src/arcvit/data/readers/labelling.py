"""How a table says an image's labels: a class name, several in a cell, or columns of 0 and 1.

Where images may have several labels, a table can often be read in two ways, and both look right.
Such a table is refused with the flag for each.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Literal

from arcvit.core.errors import UserError, nearest
from arcvit.data.findings import examples
from arcvit.data.readers.columns import (
    FLAGS,
    ON,
    Rows,
    are_flags,
    beside_flags,
    column_named,
    values_in,
)
from arcvit.data.readers.reader import LABEL_COLUMN, Opening
from arcvit.data.task import class_name


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """Where a table says the labels of an image."""

    columns: tuple[str, ...]
    """One column of names; with ``flags`` one a class, called as the class is."""
    form: Literal["name", "names", "flags"]
    """``name``: each cell is a class name. ``names``: a cell holds any number of them. ``flags``:
    0 or 1."""
    delimiter: str
    """What stands between names."""

    def labels(self, cells: Mapping[str, str]) -> tuple[str, ...]:
        """The class names of an image."""
        if self.form == "flags":
            names = [name for name in self.columns if cells[name].casefold() in ON]
        elif self.form == "names":
            names = [name.strip() for name in cells[self.columns[0]].split(self.delimiter)]
        else:
            names = [cells[self.columns[0]]]
        return tuple(class_name(name) for name in names if name)

    @property
    def if_repeated(self) -> str:
        """What to do about an image that stands in two lines."""
        if self.form == "names":
            return f"write its labels into one cell, as a{self.delimiter}b"
        return "remove one"

    def mistake(self, cells: Mapping[str, str]) -> str:
        """What is wrong with the cells of an image; empty where nothing is."""
        if self.form == "flags":
            for name in self.columns:
                if cells[name].casefold() not in FLAGS:
                    return f"{cells[name]!r} in the column {name!r}: expected 0 or 1"
        elif self.form == "name" and not cells[self.columns[0]]:
            name = self.columns[0]
            return f"an empty {name!r}: expected a value, fill it in or remove the line"
        return ""


def labelling_of(file: Path, columns: Sequence[str], rows: Rows, opening: Opening) -> Labelling:
    """How the labels are told: as the opening says, else as the columns show.

    Where images have one label, and where nothing is found, it is the column ``label``.

    Raises:
        UserError: the columns can be read in two ways, or what the opening says can't be.
    """

    def names(column: str | None) -> Labelling:
        form: Literal["name", "names"] = "name" if opening.kind == "single" else "names"
        found = column_named(column or LABEL_COLUMN, columns)
        return Labelling(columns=(found,), form=form, delimiter=opening.label_delimiter)

    if opening.label_columns:
        return _told(file, columns, opening)
    no_paths = column_named(opening.path_column, columns) not in columns  # which is told first
    if opening.kind == "single" or opening.label_column is not None or no_paths:
        return names(opening.label_column)
    others = _unread(columns, opening)
    place = {name: index for index, name in enumerate(columns)}
    held = {name: values_in(rows, place[name]) for name in others}
    named = [
        name
        for name in others
        if name.casefold() == LABEL_COLUMN
        or any(opening.label_delimiter in value for value in held[name])
    ]
    flags = [name for name in others if name not in named and are_flags(held[name])]
    if not named:
        _refuse_other_numbers(file, held, flags)
    flags = flags if len(flags) > 1 else []
    found = set(flags)  # there may be thousands
    ways = [f"--data.label_column {quote(name)}" for name in named]
    ways += [_as_flag(flags)] if flags else []
    if len(ways) > 1:
        text = [f"{' or '.join(map(repr, named))} may hold the labels"]
        text += [f"{examples(flags)}, of 0 and 1, may be one column a class"] if flags else []
        raise UserError(
            f"{file} could be read in {len(ways)} ways ({'; or '.join(text)}): say which is meant"
            f" with {' or '.join(ways)}."
        )
    further = [name for name in others if name not in found]
    if flags and further:
        raise UserError(
            f"{file} has columns of 0 and 1 ({examples(flags)}) and others"
            f" ({examples(further)}): say which are the classes, as with {ways[0]}, or which column"
            " holds names, with --data.label_column."
        )
    if flags:
        return Labelling(columns=tuple(flags), form="flags", delimiter=opening.label_delimiter)
    return names(None)


def _refuse_other_numbers(file: Path, held: Mapping[str, set[str]], flags: Sequence[str]) -> None:
    """Refuse a column that is of 0 and 1 but for some numbers: its class would be passed over."""
    odd = {name: numbers for name, values in held.items() if (numbers := beside_flags(values))}
    if len(odd) + len(flags) < 2:
        return
    for name, numbers in odd.items():
        others = f", as with {_as_flag(flags)}" if flags else ""
        raise UserError(
            f"{file} has {examples(list(map(repr, numbers)))} in the column {name!r}: expected 0 or"
            " 1 if it is a class, mend it; or say which column holds names with --data.label_column"
            f" or which are the classes with --data.label_columns{others}."
        )


def _as_flag(columns: Sequence[str]) -> str:
    """The flag that names columns; a name that holds a comma needs a list in brackets."""
    plain = not any("," in name for name in columns) and not columns[0].startswith("[")
    text = ",".join(columns) if plain else json.dumps(list(columns), ensure_ascii=False)
    return f"--data.label_columns {quote(text)}"


def _told(file: Path, columns: Sequence[str], opening: Opening) -> Labelling:
    """The columns of 0 and 1 that the opening names."""
    if opening.kind == "single":
        raise UserError(
            "data.label_columns names a column of 0 and 1 for each class, by which an image may"
            f" have several labels: {opening.or_task('give --task multilabel with it, or ')}name"
            " one column of class names with --data.label_column."
        )
    if opening.label_column is not None:
        raise UserError(
            "data.label_column names a column of class names and data.label_columns those of 0 and"
            " 1: expected one of the two settings."
        )
    told = tuple(column_named(name, columns) for name in opening.label_columns)
    for name in told:
        if columns.count(name) != 1 or told.count(name) != 1:
            state = "no column" if name not in columns else "more than one column"
            raise UserError(
                f"{file} has {state} {name!r}, which data.label_columns names: expected some of"
                f" {examples(_unread(columns, opening), most=20)}, each once."
                f"{nearest(name, columns) if name not in columns else ''}"
            )
    return Labelling(columns=told, form="flags", delimiter=opening.label_delimiter)


def _unread(columns: Sequence[str], opening: Opening) -> list[str]:
    """The columns that aren't known to hold something else; programs leave one without a name."""
    read = (opening.path_column, opening.split_column, opening.group_column)
    known = {column_named(name, columns) for name in read if name is not None}
    return [name for name in dict.fromkeys(columns) if name and name not in known]

"""Which column of a Hugging Face data set holds the labels, and what its cells say."""

import math
from dataclasses import dataclass
from typing import Any

from arcvit.core.errors import UserError
from arcvit.data.readers.columns import are_rows_of_flags
from arcvit.data.readers.reader import Opening
from arcvit.data.task import class_name

LABEL_COLUMNS = ("label", "labels", "fine_label", "class")


@dataclass(frozen=True, kw_only=True)
class LabelColumn:
    """The column of labels."""

    name: str
    names: tuple[str, ...] | None
    """Class names where its kind tells them: its values are then their places."""
    delimiter: str | None
    """What stands between the labels in a text; None: an image has one label."""

    def values(self, cell: Any) -> tuple[Any, ...]:
        """What a cell holds: one value, or those of a list or of a text like ``a|b``."""
        if self.delimiter is None:
            return () if _is_missing(cell) else (cell,)
        parts = cell.split(self.delimiter) if isinstance(cell, str) else cell or ()
        words = (class_name(part.strip()) if isinstance(part, str) else part for part in parts)
        return tuple(word for word in words if word != "" and not _is_missing(word))

    def classes(self, tables: dict[str, Any]) -> tuple[tuple[str, ...], dict[Any, int]]:
        """Class names, and the index of each value.

        Raises:
            UserError: the cells are rows of 0 and 1.
        """
        if self.names:
            return self.names, {index: index for index in range(len(self.names))}
        cells = [cell for table in tables.values() for cell in table[self.name]]
        if self.delimiter is not None and are_rows_of_flags(map(self.values, cells)):
            raise UserError(
                f"the column {self.name!r} holds a row of 0 and 1 for each image: expected a list"
                " of the labels that it has, by name or number."
            )
        values = sorted({value for cell in cells for value in self.values(cell)})
        return tuple(map(str, values)), {value: index for index, value in enumerate(values)}


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def label_column(source: str, features: Any, opening: Opening) -> LabelColumn:
    """The column that the opening names, else the one that its kind or its name shows.

    One label: the only ``ClassLabel``, or one of ``LABEL_COLUMNS``. Several: the only column of
    lists, or a text in one of ``LABEL_COLUMNS``.

    Raises:
        UserError: there is none, more than one may be meant, or its cells hold more than one label
            where an image has one.
    """
    import datasets

    lists = [n for n, f in features.items() if isinstance(f, (list, datasets.List))]
    if opening.label_column is not None:
        found = [name for name in features if name == opening.label_column]
    elif opening.kind == "multilabel":
        texts = [n for n in LABEL_COLUMNS if getattr(features.get(n), "dtype", "") == "string"]
        found = lists or texts[:1]
    else:
        found = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
        if len(found) != 1:
            found = [name for name in LABEL_COLUMNS if name in features][:1]
    several = opening.kind == "multilabel"
    if len(found) != 1:
        raise UserError(
            f"{source} has the columns {', '.join(features)}: expected one of"
            f"{' lists of' if several else ''} labels, called one of {', '.join(LABEL_COLUMNS)},"
            " or say which with --data.label_column."
        )
    (name,) = found
    kind = features[name]
    if name in lists and not several:
        raise UserError(
            f"{source} has a list of labels for each image in the column {name!r}:"
            f" {opening.or_task('give --task multilabel, or ')}name another column with"
            " --data.label_column."
        )
    if several and name not in lists and getattr(kind, "dtype", "") != "string":
        raise UserError(
            f"{source} gives each image one label in the column {name!r}: expected lists or texts"
            f" like a{opening.label_delimiter}b"
            + opening.or_task(" for --task multilabel, leave --task out.", ".")
        )
    inner = kind[0] if isinstance(kind, list) else getattr(kind, "feature", kind)
    if not isinstance(inner, (datasets.Value, datasets.ClassLabel)):
        raise UserError(
            f"{source} has neither names nor numbers in the column {name!r}: expected those, or say"
            " which column holds them with --data.label_column."
        )
    names = getattr(inner, "names", None)
    return LabelColumn(
        name=name,
        names=tuple(names) if names else None,
        delimiter=opening.label_delimiter if several else None,
    )

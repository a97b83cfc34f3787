"""Tables of results, written whole or not at all."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from arcvit.core.files import atomic_path
from arcvit.core.shown import csv_cell


def write_csv(file: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table, atomically.

    Names that a spreadsheet would calculate get an apostrophe, as :func:`csv_cell` says; those of
    files may hold bytes that are no text, which stay as they are.
    """
    with (
        atomic_path(file) as partial,
        partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(map(csv_cell, columns))
        writer.writerows(map(csv_cell, row) for row in rows)

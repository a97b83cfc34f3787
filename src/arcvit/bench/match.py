"""Rows of equal size: the rank or width of each chosen by what a reference row trains."""

import dataclasses
import math
from collections.abc import Callable

from arcvit.bench.cost import trained_parameters
from arcvit.bench.rows import BenchRow, RowName
from arcvit.bench.trials import Bench
from arcvit.core.errors import UserError
from arcvit.methods.row import parse_row

_LARGEST = 1 << 14
"""Where the search for a size gives up; far beyond the width of any backbone."""


def match_params(bench: Bench, reference: str) -> Bench:
    """The bench with rows that train at most what the reference does, and as much as they can.

    A row whose own size is named stays as it is, and so does a method that has none. Numbers are
    those outside the head, on the row's own backbone.

    Args:
        bench: the rows; not searched yet, as labels change.
        reference: a row to compare with, as ``arc`` or ``lora:r=2``; it need not be in the table.

    Returns:
        The bench with other rows, and with notes that say what was chosen and what stayed.

    Raises:
        UserError: the reference isn't a method, or can't be put on a backbone.
    """
    method = parse_row(reference, key="--match_params")
    rows: list[BenchRow] = []
    notes: list[str] = []
    for row in bench.rows:
        name = RowName(method=method.label, backbone=row.name.backbone)
        most = _trained(bench, BenchRow(name=name, method=method))
        chosen, said = _matched(bench, row, most)
        if chosen.name in [other.name for other in rows]:  # named in the table too
            continue
        rows.append(chosen)
        notes.append(f"{chosen.name} {said} ({name}: {most:,})")
    return dataclasses.replace(bench, rows=tuple(rows), notes=tuple(notes))


def _matched(bench: Bench, row: BenchRow, most: int) -> tuple[BenchRow, str]:
    """The row at its largest size of at most so many, and what is to be said of it."""
    spec = row.method.spec
    key = f"{spec.section}.{spec.size}"
    trained = _trained(bench, row)
    if trained == most:
        return row, f"trains {trained:,} numbers"
    if spec.size is None or key in row.method.settings:
        why = "has no size to choose" if spec.size is None else "keeps the size it was given"
        return row, f"{why}: it trains {trained:,} numbers"

    def sized(size: int) -> BenchRow:
        method = parse_row(f"{row.method.label}:{spec.size}={size}")
        return BenchRow(name=dataclasses.replace(row.name, method=method.label), method=method)

    def count(size: int) -> float:
        try:
            return _trained(bench, sized(size))
        except UserError:  # larger than the backbone is wide
            return math.inf

    size = _largest(count, most)
    if size is None:
        return row, f"is larger even with {spec.size}=1: it trains {trained:,} numbers"
    chosen = sized(size)
    return chosen, f"trains {_trained(bench, chosen):,} numbers"


def _largest(count: Callable[[int], float], most: int) -> int | None:
    """The largest size that trains at most so many; None: not even 1 does.

    A count takes a second, and most grow by as much with each size: the first guess is right.
    """
    one, two = count(1), count(2)
    if one > most:
        return None
    low, high = 1, _LARGEST
    guess = 1 + int((most - one) // (two - one)) if two > one else _LARGEST
    for size in (guess, guess + 1):
        if low < size < high:
            low, high = (size, high) if count(size) <= most else (low, size)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= most else (low, middle)
    return low


def _trained(bench: Bench, row: BenchRow) -> int:
    return trained_parameters(bench.recipe_for(bench.suite.tasks[0], "-", row, 0))

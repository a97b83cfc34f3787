"""What a search tries: for every method, all combinations of some settings' values. No torch."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError, nearest
from arcvit.core.yaml_files import read_yaml
from arcvit.methods.row import MethodRow
from arcvit.methods.table import method_named

Settings = Mapping[str, Any]
"""Values of a recipe's keys, as ``{"optim.lr": 0.005}``."""
Grid = Mapping[str, Sequence[float]]
"""Values to try of some keys of a recipe."""

RATE = "optim.lr"
SPACES = ("grid", "wide")
"""Searches that need no file: the method's own rates, and what papers after ARC search."""
WIDE: Grid = {
    RATE: [0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2],
    "optim.weight_decay": [0, 0.001, 0.005, 0.01, 0.05],
}


def load_space(name: str, rows: Sequence[MethodRow]) -> dict[str, list[Settings]]:
    """The settings to try, by the label of a row; lower values first.

    What a row fixes leaves its search.

    Args:
        name: ``grid``, ``wide``, or a YAML file ``{METHOD: {KEY: [number, ...]}}``, where a row's
            label may stand in place of its method.
        rows: the rows.

    Raises:
        UserError: neither, a row isn't in it, or not as many trials for every method.
    """
    if name == "grid":
        grids: dict[str, Grid] = {row.label: {RATE: row.spec.rates} for row in rows}
    elif name == "wide":
        grids = {row.label: WIDE for row in rows}
    else:
        grids = _from_file(name, rows)
    space = {}
    for row in rows:
        left = {key: v for key, v in grids[row.label].items() if key not in row.settings}
        space[row.label] = _combined(left)
    return space


def label(settings: Settings) -> str:
    """Settings in short, as ``lr 0.005 weight_decay 0``."""
    shown = {k: f"{v:g}" if isinstance(v, int | float) else v for k, v in settings.items()}
    return " ".join(f"{key.rpartition('.')[2]} {value}" for key, value in shown.items())


def _from_file(name: str, rows: Sequence[MethodRow]) -> dict[str, Grid]:
    file = Path(name).expanduser()
    if not file.is_file():
        raise UserError(
            f"--search {name!r} isn't there: expected {', '.join(SPACES)}, none or a YAML file."
            f"{nearest(name, SPACES)}"
        )
    grids = read_yaml(file)
    if not isinstance(grids, dict) or not grids or not all(map(_is_grid, grids.values())):
        raise UserError(
            f"{file} isn't a search space: expected for each method the keys to search with a list"
            " of numbers, as 'arc: {optim.lr: [0.001, 0.01]}'."
        )
    for key in grids:
        method_named(str(key).split(":")[0], key=f"{file}: the method")
    counts = {method: len(_combined(grid)) for method, grid in grids.items()}
    if len(set(counts.values())) != 1:
        told = ", ".join(f"{method} {count}" for method, count in counts.items())
        raise UserError(f"{file} has not as many trials for every method: {told}.")
    missing = [row.label for row in rows if row.label not in grids and row.spec.name not in grids]
    if missing:
        raise UserError(f"the search has no settings for {', '.join(missing)}: add them.")
    return {row.label: grids[row.label if row.label in grids else row.spec.name] for row in rows}


def _is_grid(grid: Any) -> bool:
    return (
        isinstance(grid, dict)
        and bool(grid)
        and all(isinstance(key, str) and key.count(".") <= 1 for key in grid)
        and not {key.partition(".")[0] for key in grid if "." in key} & set(grid)
        and all(
            isinstance(values, list)
            and bool(values)
            and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
            for values in grid.values()
        )
    )


def _combined(grid: Grid) -> list[Settings]:
    combinations = itertools.product(*(sorted(set(values)) for values in grid.values()))
    return [dict(zip(grid, values, strict=True)) for values in combinations]

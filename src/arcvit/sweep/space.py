"""What a search tries: for every method, all combinations of some settings' values. No torch."""

import itertools
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml

from arcvit.core.errors import UserError, nearest
from arcvit.recipe.recipe import Method

Settings = Mapping[str, float]
"""Values of a recipe's keys, as ``{"optim.lr": 0.005}``."""

SPACES = ("grid", "wide")
"""Spaces that ship with the package."""
_ROOT = Path(str(resources.files("arcvit") / "sweep" / "spaces"))


def load_space(name: str) -> dict[str, list[Settings]]:
    """The settings to try, by method; lower values first.

    Args:
        name: ``grid``, ``wide``, or a YAML file ``{METHOD: {KEY: [number, ...]}}``.

    Raises:
        UserError: neither, or not as many trials for every method.
    """
    file = _ROOT / f"{name}.yaml" if name in SPACES else Path(name).expanduser()
    if not file.is_file():
        raise UserError(
            f"--search {name!r} isn't there: expected {', '.join(SPACES)}, none or a YAML file."
            f"{nearest(name, SPACES)}"
        )
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} isn't YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(values, dict) or not values or not all(map(_is_grid, values.values())):
        raise UserError(
            f"{file} isn't a search space: expected for each method the keys to search with a list"
            " of numbers, as 'arc: {optim.lr: [0.001, 0.01]}'."
        )
    known = get_args(Method)
    for method in values:
        if method not in known:
            raise UserError(
                f"{file} names the method {method!r}: expected some of {', '.join(known)}."
                f"{nearest(str(method), known)}"
            )
    space = {method: _combined(grid) for method, grid in values.items()}
    if len({len(trials) for trials in space.values()}) != 1:
        counts = ", ".join(f"{method} {len(trials)}" for method, trials in space.items())
        raise UserError(f"{file} has not as many trials for every method: {counts}.")
    return space


def label(settings: Settings) -> str:
    """Settings in short, as ``lr 0.005 weight_decay 0``."""
    return " ".join(f"{key.rpartition('.')[2]} {value:g}" for key, value in settings.items())


def nested(settings: Settings) -> dict[str, Any]:
    """Settings as the keys of a recipe: ``{"optim": {"lr": 0.005}}``."""
    values: dict[str, Any] = {}
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        (values.setdefault(section, {}) if section else values)[name] = value
    return values


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


def _combined(grid: Mapping[str, list[float]]) -> list[Settings]:
    combinations = itertools.product(*(sorted(set(values)) for values in grid.values()))
    return [dict(zip(grid, values, strict=True)) for values in combinations]

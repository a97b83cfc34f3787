"""Recipes from flags and YAML, and back: one definition for both, the dataclasses."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from arcvit.core.errors import UserError
from arcvit.core.files import write_text
from arcvit.methods.row import MethodRow, parse_row
from arcvit.methods.table import methods, named_for
from arcvit.recipe.few_shots import Count, few_shot_defaults
from arcvit.recipe.keys import check_keys, read_flags, sections
from arcvit.recipe.library import merged, recipe_values
from arcvit.recipe.recipe import Recipe

CONFIG = "--config"
PRINT = "--print_config"


def parse_recipe(
    flags: Sequence[str],
    values: Mapping[str, Any] = MappingProxyType({}),
    *,
    row: MethodRow | None = None,
    count: Count | None = None,
) -> Recipe:
    """The recipe of some keys, then of the files that ``--config`` names, then of flags.

    What ``--method METHOD:KEY=VALUE`` or a row sets comes last.

    Args:
        flags: ``--optim.lr 0.1`` or ``--optim.lr=0.1``; any field of a recipe.
        values: keys of a recipe, as in YAML.
        row: the method and its settings, in place of ``--method``.
        count: asked how many images a class has, where defaults depend on it; None: they don't.

    Raises:
        UserError: a key or value isn't known.
        SystemExit: ``--print_config`` was given, and the recipe has been printed.
    """
    pairs = _pairs(flags)
    every = check_keys(values)
    for flag, text in pairs:
        if flag == CONFIG:
            if text is None:
                raise UserError(f"{CONFIG} has no value after it: expected a recipe in YAML.")
            every = merged(every, check_keys(recipe_values(text)))
    given = [pair for pair in pairs if pair[0] not in (CONFIG, PRINT)]
    recipe = _build(merged(every, read_flags(given)), row, count)
    if any(flag == PRINT for flag, _ in pairs):
        print(recipe_to_yaml(recipe), end="")
        raise SystemExit(0)
    return recipe


def data_flags(flags: Sequence[str]) -> dict[str, Any]:
    """The fields of a ``DataConfig`` that ``--data.*`` flags give.

    Raises:
        UserError: a flag or its value isn't known.
    """
    given: dict[str, Any] = read_flags(_pairs(flags)).get("data", {})
    return given


def recipe_to_yaml(recipe: Recipe) -> str:
    """A recipe as YAML, complete and re-runnable."""
    return yaml.safe_dump(recipe.to_dict(), sort_keys=False)


def write_recipe(file: Path, recipe: Recipe) -> None:
    """Write a recipe as YAML, atomically."""
    write_text(file, recipe_to_yaml(recipe))


def read_recipe(file: Path) -> Recipe:
    """The recipe in a YAML file.

    Raises:
        UserError: the file isn't there, or a key or value isn't known.
    """
    if not file.is_file():
        raise UserError(f"recipe {str(file)!r} isn't there.")
    try:
        return parse_recipe([f"{CONFIG}={file}"])
    except UserError as error:
        raise UserError(f"in {file}: {error}") from error


def _pairs(flags: Sequence[str]) -> list[tuple[str, str | None]]:
    """Flags with the texts that follow them; None where nothing follows."""
    pairs: list[tuple[str, str | None]] = []
    rest = list(flags)
    while rest:
        flag, equals, text = rest.pop(0).partition("=")
        if not flag.startswith("--"):
            raise UserError(
                f"{flag + equals + text!r} is not expected here: every value follows a flag, as"
                " --seed 1, and a name with spaces needs quotes. arcvit train --help_all lists what"
                " there is."
            )
        if equals or flag == PRINT:
            pairs.append((flag, text))
        else:
            pairs.append((flag, rest.pop(0) if rest and not rest[0].startswith("--") else None))
    return pairs


def _build(values: dict[str, Any], row: MethodRow | None, count: Count | None) -> Recipe:
    """The recipe of checked values."""
    if row is None and "method" in values:
        row = parse_row(values["method"])
    if row is not None:
        fixed = check_keys(nested(row.settings))
        values = merged(values, fixed) | {"method": row.spec.name}
    values = merged(few_shot_defaults(values, count), values)
    if "path" not in values.get("data", {}):
        raise UserError(
            "data.path is missing: give the images, as arcvit train PHOTOS, or a YAML file that"
            " names them with --config FILE."
        )
    known, inside = methods(), sections()
    built = {}
    for key, value in values.items():
        if key in known:
            known[key].make_options(value)  # checked, even where another method is chosen
        elif key in inside:
            built[key] = inside[key](**value)
        else:
            built[key] = value
    recipe = Recipe(**built)
    options = recipe.spec.make_options(values.get(recipe.spec.section, {}))
    method = named_for(recipe.spec, dataclasses.asdict(options)).name
    return dataclasses.replace(recipe, method=method, options=options).resolved()


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the keys of a recipe: ``{"optim.lr": 1}`` as ``{"optim": {"lr": 1}}``."""
    values: dict[str, Any] = {}
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        (values.setdefault(section, {}) if section else values)[name] = value
    return values

"""Recipes from flags and YAML, and back: one definition for both (jsonargparse)."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_type_hints

import yaml
from jsonargparse import ArgumentParser, Namespace

from arcvit.core.errors import UserError
from arcvit.core.files import write_text
from arcvit.recipe.messages import one_sentence
from arcvit.recipe.recipe import DEFAULT_LR, Recipe

Config = TypeVar("Config")


class RecipeParser(ArgumentParser):
    """A parser whose errors are one sentence that names the key, what was expected, what to do."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong as a :class:`UserError`."""
        flags = [flag for action in self._actions for flag in action.option_strings]
        raise UserError(one_sentence(message, flags)) from ex


def recipe_parser(command: str) -> RecipeParser:
    """The parser of a recipe: every field is a flag, ``--config`` takes YAML."""
    parser = RecipeParser(
        prog=f"arcvit {command}",
        description="Learn a task: a small ARC adapter and a head, on a frozen backbone.",
        epilog="Default learning rates: "
        + ", ".join(f"{method} {lr:g}" for method, lr in DEFAULT_LR.items())
        + " (docs/defaults.md says how they were chosen).",
    )
    parser.add_argument("--config", action="config", help="A recipe in YAML; flags override it.")
    parser.add_class_arguments(Recipe, as_group=False)
    return parser


def recipe_of(parser: RecipeParser, namespace: Namespace) -> Recipe:
    """The recipe in a parsed namespace, with its defaults resolved.

    Raises:
        UserError: a value is out of range.
    """
    del parser
    return _build(Recipe, namespace.as_dict()).resolved()


def recipe_to_yaml(recipe: Recipe) -> str:
    """A recipe as YAML, complete and re-runnable."""
    return yaml.safe_dump(dataclasses.asdict(recipe), sort_keys=False)


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
    parser = recipe_parser("train")
    try:
        return recipe_of(parser, parser.parse_args([f"--config={file}"]))
    except UserError as error:
        raise UserError(f"in {file}: {error}") from error


def _build(config: type[Config], values: Mapping[str, Any]) -> Config:
    """A config dataclass of parsed values, sections first; other keys belong to the command."""
    built: dict[str, Any] = {}
    for name, hint in get_type_hints(config).items():
        if name in values:
            nested = isinstance(hint, type) and dataclasses.is_dataclass(hint)
            is_section = nested and isinstance(values[name], Mapping)
            built[name] = _build(hint, values[name]) if is_section else values[name]
    return config(**built)

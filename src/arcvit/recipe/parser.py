"""Recipes from flags and YAML, and back: one definition for both (jsonargparse)."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser, Namespace

from arcvit.core.errors import UserError, nearest
from arcvit.core.files import write_text
from arcvit.recipe.recipe import DEFAULT_LR, Recipe


class RecipeParser(ArgumentParser):
    """A parser whose errors are one sentence that names the key, what was expected, what to do."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong as a :class:`UserError`."""
        del ex
        raise UserError(_one_sentence(message, self._known_flags()))

    def _known_flags(self) -> list[str]:
        return [
            option
            for action in self._actions
            for option in action.option_strings
            if option.startswith("--")
        ]


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
    """The recipe in a parsed namespace, with its defaults resolved."""
    values = parser.instantiate_classes(namespace).as_dict()
    fields = Recipe.__dataclass_fields__
    recipe = Recipe(**{key: value for key, value in values.items() if key in fields})
    return recipe.resolved()


def recipe_to_yaml(recipe: Recipe) -> str:
    """A recipe as YAML, complete and re-runnable."""
    return yaml.safe_dump(_plain(recipe), sort_keys=False)


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
    return recipe_of(parser, parser.parse_args([f"--config={file}"]))


def _plain(recipe: Recipe) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(recipe)


def _one_sentence(message: str, flags: Iterable[str]) -> str:
    """jsonargparse's message without its layers, and with the nearest known key."""
    text = " ".join(message.split())
    unknown = re.search(r"(?:Unrecognized arguments:|Key|key) ['\"]?(?:--)?([\w.]+)", text)
    hint = ""
    if unknown is not None and ("nrecognized" in text or "not expected" in text):
        known = [flag.removeprefix("--") for flag in flags]
        hint = nearest(unknown.group(1), known) or " arcvit train --help lists what is known."
    return text.rstrip(".") + "." + hint

"""Recipes from flags and YAML, and back: one definition for both (jsonargparse)."""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_type_hints

import yaml
from jsonargparse import ArgumentParser, Namespace

from arcvit.core.errors import UserError
from arcvit.core.files import write_text
from arcvit.recipe.library import expanded_config
from arcvit.recipe.messages import one_sentence
from arcvit.recipe.recipe import DEFAULT_LR, Recipe

Config = TypeVar("Config")


class RecipeParser(ArgumentParser):
    """A parser whose errors are one sentence that names the key, what was expected, what to do."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong as a :class:`UserError`."""
        flags = [flag for action in self._actions for flag in action.option_strings]
        raise UserError(one_sentence(message, flags)) from ex

    def parse_args(  # type: ignore[override]  # argparse and jsonargparse differ themselves
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None, **kwargs: Any
    ) -> Namespace:
        """As jsonargparse; ``--config`` also takes a shipped recipe's name, and ``extends``."""
        if args is None:
            return super().parse_args(args, namespace, **kwargs)
        with tempfile.TemporaryDirectory(prefix="arcvit-") as folder:
            return super().parse_args(
                _expand_configs(list(args), Path(folder)), namespace, **kwargs
            )


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


def parse_values(values: Mapping[str, Any], flags: Sequence[str], command: str) -> Recipe:
    """The recipe of some keys, with flags over them.

    Raises:
        UserError: a key or value isn't known.
    """
    parser = recipe_parser(command)
    with tempfile.TemporaryDirectory(prefix="arcvit-") as folder:
        file = _write_values(values, Path(folder) / "recipe.yaml")
        return recipe_of(parser, parser.parse_args([f"--config={file}", *flags]))


def _expand_configs(args: list[str], folder: Path) -> list[str]:
    """Files in place of shipped recipes and of recipes that extend others.

    jsonargparse takes YAML text too, but looks for a file of that name first, and long names are
    an error.
    """
    expanded: list[str] = []
    for index, arg in enumerate(args):
        flag, value = "", arg
        if arg.startswith("--config="):
            flag, value = "--config=", arg.removeprefix("--config=")
        elif index == 0 or args[index - 1] != "--config":
            expanded.append(arg)
            continue
        values = expanded_config(value)
        if values is not None:
            value = str(_write_values(values, folder / f"recipe-{index}.yaml"))
        expanded.append(flag + value)
    return expanded


def _write_values(values: Mapping[str, Any], file: Path) -> Path:
    file.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")
    return file


def _build(config: type[Config], values: Mapping[str, Any]) -> Config:
    """A config dataclass of parsed values, sections first; other keys belong to the command."""
    built: dict[str, Any] = {}
    for name, hint in get_type_hints(config).items():
        if name in values:
            nested = isinstance(hint, type) and dataclasses.is_dataclass(hint)
            is_section = nested and isinstance(values[name], Mapping)
            built[name] = _build(hint, values[name]) if is_section else values[name]
    return config(**built)

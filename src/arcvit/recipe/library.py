"""Recipes that ship with the package, and ``extends``: a recipe names the one it builds on."""

from importlib import resources
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError, nearest
from arcvit.core.yaml_files import read_yaml

EXTENDS = "extends"
_ROOT = Path(str(resources.files("arcvit") / "recipe" / "recipes"))
_NOT_RECIPES = ("vtab/base", "fgvc/base")


def shipped_recipes() -> list[str]:
    """Names of the shipped recipes, as ``vtab/vit_b16/cifar``."""
    names = [str(f.relative_to(_ROOT).with_suffix("")) for f in sorted(_ROOT.rglob("*.yaml"))]
    return [name for name in names if name not in _NOT_RECIPES]


def is_shipped(name: str) -> bool:
    """Whether a shipped recipe has this name."""
    return name in shipped_recipes()


def recipe_values(recipe: str | Path) -> dict[str, Any]:
    """The keys of a recipe, those of what it extends filled in; not checked yet.

    Args:
        recipe: a YAML file, or a shipped recipe's name.

    Raises:
        UserError: neither is there, it isn't a recipe in YAML, or recipes extend one another.
    """
    file = Path(recipe).expanduser()
    if file.is_file():
        return _flat(file, ())
    if is_shipped(str(recipe)):
        return _flat(_ROOT / f"{recipe}.yaml", ())
    raise UserError(
        f"recipe {str(recipe)!r} isn't there: expected a YAML file or a shipped recipe, as"
        f" vtab/vit_b16.{nearest(str(recipe), shipped_recipes())}"
    )


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Keys of two recipes, section by section; the second one wins."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def _flat(file: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if file in seen:
        raise UserError(f"recipe {file} extends itself: take one {EXTENDS!r} out.")
    values = _read(file)
    base = values.pop(EXTENDS, None)
    if base is None:
        return values
    target = (file.parent / str(base)).resolve()
    if not target.is_file():
        if is_shipped(str(base)):
            target = _ROOT / f"{base}.yaml"
        else:
            raise UserError(
                f"recipe {file} extends {base!r}, which isn't there: expected a file beside it or"
                f" a shipped recipe.{nearest(str(base), shipped_recipes())}"
            )
    return merged(_flat(target, (*seen, file)), values)


def _read(file: Path) -> dict[str, Any]:
    values = read_yaml(file)
    if not isinstance(values, dict) or not values:
        what = "is empty" if not values else f"holds {str(values)[:40]!r}"
        raise UserError(f"recipe {file} {what}: expected keys as 'method: arc'.")
    for key in values:
        if not isinstance(key, str):
            raise UserError(f"recipe {file} has the key {key!r}: expected words, as 'method: arc'.")
    return values

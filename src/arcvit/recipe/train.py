"""Train from Python: ``arcvit train`` as a function."""

from pathlib import Path
from typing import Any

from arcvit.core.console import PlainConsole
from arcvit.core.errors import UserError
from arcvit.recipe.execute import execute
from arcvit.recipe.few_shots import count_images
from arcvit.recipe.library import merged, recipe_values
from arcvit.recipe.names import run_folder, run_name
from arcvit.recipe.overwrite import overwrite as replacing
from arcvit.recipe.parser import nested, parse_recipe
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import Run

_RECIPES = (".yaml", ".yml")


def train(
    source: Recipe | str | Path,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Learn a task and leave a run folder, as ``arcvit train`` does.

    Args:
        source: a recipe, a recipe's YAML file, or images: a class folder, a table or another
            layout.
        out: the run folder; None: runs/TASK-METHOD-BACKBONE, with a number where that is taken. An
            unfinished run in it is resumed.
        overwrite: replace the run in that folder; it stays until the new one has finished.
        quiet: show nothing.
        settings: fields of a recipe, as ``method="lora:r=4"`` or ``engine={"epochs": 5}``; with a
            recipe's file they override it.

    Returns:
        The finished run, which ``arcvit.load`` takes.

    Raises:
        UserError: anything wrong with recipe, data, backbone or run folder.
    """
    recipe = _recipe(source, settings)
    if out is None:
        root = Path("runs")
        out = root / run_name(recipe) if overwrite else run_folder(recipe, root)
    run = Run(recipe, Path(out))
    (replacing if overwrite else execute)(run, PlainConsole(), quiet=quiet)
    return run


def _recipe(source: Recipe | str | Path, settings: dict[str, Any]) -> Recipe:
    if isinstance(source, Recipe):
        if settings:
            raise UserError(
                f"a recipe says all, and {', '.join(settings)} came beside it: expected"
                " dataclasses.replace(recipe, ...)."
            )
        return source
    path = Path(source)
    values = recipe_values(path) if path.suffix in _RECIPES else {"data": {"path": str(source)}}
    return parse_recipe([], merged(values, nested(settings)), count=count_images)

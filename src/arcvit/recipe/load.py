"""Bring a finished run back: its backbone with what was learned on it."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from arcvit.backbones.build import Backbone, build_backbone
from arcvit.core.errors import UserError
from arcvit.core.result import RunResult, read_result
from arcvit.recipe.adapter import ADAPTER_FOLDER, TaskCard, load_adapter, read_card
from arcvit.recipe.execute import RECIPE_FILE
from arcvit.recipe.parser import read_recipe
from arcvit.recipe.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """A finished run, ready for inference.

    Attributes:
        recipe: what was asked.
        result: what came out.
        card: classes and preprocessing.
        backbone: the backbone it was built on.
        model: the adapted model, in evaluation mode.
    """

    recipe: Recipe
    result: RunResult
    card: TaskCard
    backbone: Backbone
    model: nn.Module


def load_run(run: Path, *, backbone: str | None = None, force: bool = False) -> LoadedRun:
    """Load a finished run.

    Args:
        run: the run folder.
        backbone: another place of the backbone than the recipe's; its weights must be the same.
        force: load onto other weights all the same.

    Raises:
        UserError: it isn't a finished run, or the backbone can't be had or isn't the same.
    """
    if not run.is_dir():
        raise UserError(f"run {str(run)!r} isn't there: expected a folder that arcvit train wrote.")
    result = read_result(run)
    recipe = read_recipe(run / RECIPE_FILE)
    card = read_card(run / ADAPTER_FOLDER)
    built = build_backbone(
        backbone or recipe.backbone,
        num_classes=len(card.classes),
        weights=recipe.weights,
        image_size=recipe.image_size,
    )
    model = load_adapter(built.model, built.head, run / ADAPTER_FOLDER, card, force=force)
    return LoadedRun(recipe=recipe, result=result, card=card, backbone=built, model=model)

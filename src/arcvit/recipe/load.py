"""Bring a finished run back: its backbone with what was learned on it."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from arcvit.backbones.build import Backbone, build_backbone
from arcvit.core.errors import UserError
from arcvit.core.result import RunResult, read_result
from arcvit.recipe.adapter import (
    CARD_FILE,
    CONFIG_FILE,
    TaskCard,
    is_full_model,
    load_adapter,
    read_card,
)
from arcvit.recipe.parser import read_recipe
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import ADAPTER_FOLDER, RECIPE_FILE


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
    if (run / CONFIG_FILE).is_file() or (run / CARD_FILE).is_file():
        raise UserError(
            f"{str(run)!r} is an adapter, not a run: expected the folder around it,"
            f" {str(run.parent)!r}."
        )
    result = read_result(run)
    recipe = read_recipe(run / RECIPE_FILE)
    card = read_card(run / ADAPTER_FOLDER)
    # Full fine-tuning brings all weights along.
    full = is_full_model(run / ADAPTER_FOLDER)
    built = build_backbone(
        backbone or recipe.backbone,
        num_classes=len(card.classes),
        weights="random" if full else recipe.weights,
        image_size=recipe.image_size,
    )
    model = load_adapter(built, run / ADAPTER_FOLDER, card, force=force)
    return LoadedRun(recipe=recipe, result=result, card=card, backbone=built, model=model)

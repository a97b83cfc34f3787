"""The settings of a method on a task, chosen on the validation split."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from arcvit.core.files import write_json
from arcvit.recipe.recipe import Recipe
from arcvit.sweep.space import Settings

CHOICE_FILE = "choice.json"
RATE = "optim.lr"


def trial_recipe(recipe: Recipe) -> Recipe:
    """The recipe of a trial: trained on the training split, measured on validation at the end."""
    return dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, fit_on="train"),
        engine=dataclasses.replace(recipe.engine, validate_every=0),
    )


def trial_folder(settings: Settings) -> str:
    """The name of the folder of a trial."""
    return ",".join(f"{key}={value!r}" for key, value in settings.items())


def choose_settings(tried: Sequence[tuple[Settings, float]], folder: Path) -> Settings:
    """The best on validation, ties to the lower; left with all trials in ``choice.json``.

    Args:
        tried: settings with their accuracies.
        folder: where the trials are.
    """
    chosen = best_settings(tried)
    record = [{"settings": settings, "val_accuracy": accuracy} for settings, accuracy in tried]
    write_json(folder / CHOICE_FILE, {"settings": chosen, "trials": record})
    return chosen


def best_settings(tried: Sequence[tuple[Settings, float]]) -> Settings:
    """The settings with the highest accuracy; of several the lowest: rate, then the others."""
    return min(tried, key=lambda trial: (-trial[1], _rate_first(trial[0])))[0]


def _rate_first(settings: Settings) -> tuple[float, ...]:
    return tuple(value for _, value in sorted(settings.items(), key=lambda s: s[0] != RATE))

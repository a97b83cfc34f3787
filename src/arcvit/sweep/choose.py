"""The settings of a method on a task, chosen on the validation split."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from arcvit.core.errors import UserError
from arcvit.core.files import write_json
from arcvit.core.result import read_result
from arcvit.engine.loop import NonFiniteLoss
from arcvit.recipe.execute import execute
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import Run
from arcvit.sweep.space import Settings, label

CHOICE_FILE = "choice.json"
RATE = "optim.lr"


def choose_settings(
    trials: Iterable[tuple[Settings, Recipe]], folder: Path, console: Console
) -> Settings:
    """Train on the training split with each settings; the best on validation, ties to the lower.

    The test split isn't read. Trials that have finished before aren't run again.

    Args:
        trials: settings to try, each with the recipe that has them.
        folder: where the trials are left, with the choice in ``choice.json``.
        console: where failures of a trial are shown.

    Raises:
        UserError: the task has no validation split, or no settings give a finite loss.
    """
    tried: list[tuple[Settings, float]] = []
    failed: NonFiniteLoss | None = None
    for settings, recipe in trials:
        trial = dataclasses.replace(
            recipe,
            data=dataclasses.replace(recipe.data, fit_on="train"),
            engine=dataclasses.replace(recipe.engine, validate_every=0),
        )
        name = ",".join(f"{key}={value!r}" for key, value in settings.items())
        run = Run(trial, folder / name, read_test=False)
        if run.is_finished:
            run.check_same()
        else:
            try:
                execute(run, console, quiet=True, looked=True)
            except NonFiniteLoss as error:
                console.print(f"  {label(settings)}: {error}", highlight=False, soft_wrap=True)
                failed = error
                continue
        accuracy = read_result(run.folder).val_accuracy
        if accuracy is None:
            raise UserError(
                f"{recipe.data.path} has no validation split to choose on: give --search none, or"
                " let --data.val_fraction hold one out."
            )
        tried.append((settings, accuracy))
    if not tried:
        assert failed is not None
        raise failed
    chosen = best_settings(tried)
    record = [{"settings": settings, "val_accuracy": accuracy} for settings, accuracy in tried]
    write_json(folder / CHOICE_FILE, {"settings": chosen, "trials": record})
    return chosen


def best_settings(tried: Iterable[tuple[Settings, float]]) -> Settings:
    """The settings with the highest accuracy; of several the lowest: rate, then the others."""
    return min(tried, key=lambda trial: (-trial[1], _rate_first(trial[0])))[0]


def _rate_first(settings: Settings) -> tuple[float, ...]:
    return tuple(value for _, value in sorted(settings.items(), key=lambda s: s[0] != RATE))

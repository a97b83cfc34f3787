"""The learning rate of a method on a task, chosen on the validation split."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from arcvit.core.errors import UserError
from arcvit.core.files import write_json
from arcvit.core.result import is_finished, read_result
from arcvit.recipe.execute import execute
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run_folder import differing_keys

CHOICE_FILE = "choice.json"


def choose_rate(recipe: Recipe, rates: Sequence[float], folder: Path, console: Console) -> float:
    """Train on the training split with each rate; the best on validation, ties to the lower.

    The test split isn't read. Trials that have finished before aren't run again.

    Args:
        recipe: what to do, but for the rate.
        rates: rates to try.
        folder: where the trials are left, with the choice in ``choice.json``.
        console: where failures of a trial are shown.

    Raises:
        UserError: the task has no validation split, or no rate gives a finite loss.
    """
    accuracies: dict[float, float] = {}
    failed: UserError | None = None
    for rate in sorted(rates):
        trial = dataclasses.replace(
            recipe,
            data=dataclasses.replace(recipe.data, fit_on="train"),
            optim=dataclasses.replace(recipe.optim, lr=rate),
            engine=dataclasses.replace(recipe.engine, validate_every=0),
        )
        run = folder / f"lr-{rate:g}"
        if is_finished(run):
            refuse_other_settings(run, trial)
        else:
            try:
                execute(trial, run, console, quiet=True, read_test=False)
            except UserError as error:
                # A rate that diverges loses; other mistakes fail at every rate.
                console.print(f"  lr {rate:g}: {error}", highlight=False, soft_wrap=True)
                failed = error
                continue
        accuracy = read_result(run).val_accuracy
        if accuracy is None:
            raise UserError(
                f"{recipe.data.path} has no validation split to choose on: give --search none, or"
                " let --data.val_fraction hold one out."
            )
        accuracies[rate] = accuracy
    if not accuracies:
        assert failed is not None
        raise failed
    chosen = best_rate(accuracies)
    trials = [{"lr": rate, "val_accuracy": value} for rate, value in accuracies.items()]
    write_json(folder / CHOICE_FILE, {"lr": chosen, "trials": trials})
    return chosen


def best_rate(accuracies: dict[float, float]) -> float:
    """The rate with the highest accuracy; of several the lowest."""
    return min(accuracies, key=lambda rate: (-accuracies[rate], rate))


def refuse_other_settings(run: Path, recipe: Recipe) -> None:
    """Refuse a finished run of another recipe: its figures would be mixed with these.

    Raises:
        UserError: names the settings that differ.
    """
    differing = differing_keys(run, recipe)
    if differing:
        raise UserError(
            f"{str(run)!r} holds a finished run with other settings (they differ in"
            f" {', '.join(differing)}): choose another --out, or give the same settings."
        )

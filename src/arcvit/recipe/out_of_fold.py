"""Cross-validation before the fit on everything: what is said of each image before it is learned.

Every fold is a run of its own below the run's folder, so a killed one goes on where it was, and
what has finished isn't done again.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from arcvit.core.durations import seconds_in
from arcvit.core.intervals import wilson
from arcvit.core.launch import rank
from arcvit.core.predictions import OUT_OF_FOLD, Predicted, read_predictions
from arcvit.core.result import RunResult
from arcvit.core.shown import csv_cell
from arcvit.data.readers.folds import check_folds
from arcvit.engine.calibration import temperature
from arcvit.engine.evaluate import Evaluation
from arcvit.engine.loop import NonFiniteLoss
from arcvit.recipe.calibrate import HeldOut
from arcvit.recipe.parser import write_recipe
from arcvit.recipe.prepare import open_recipe_task
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.resume import known_task, write_images
from arcvit.recipe.run import RECIPE_FILE, Run

Say = Callable[[str], None]
Train = Callable[[Run, bool], RunResult]
"""Does what is left of a fold's run; told whether it is the first, whose images are looked at."""


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """What the folds came to.

    Attributes:
        images: what is said of each image, by the model of the fold that it is left out of.
        held_out: what calibration needs of them; None: the processes don't hold whole weights.
        epochs: of each fold.
        seconds: that training them took.
    """

    images: list[Predicted]
    held_out: HeldOut | None
    epochs: int
    seconds: float

    def record(self, classes: list[str], folds: int) -> dict[str, float]:
        """As ``result.json`` has it; low and high are the ends of Wilson's 95 % interval."""
        place = {csv_cell(name): label for label, name in enumerate(classes)}
        labels = torch.tensor([place[image.label] for image in self.images])
        predictions = torch.tensor([place[image.predicted] for image in self.images])
        hits = int((labels == predictions).sum())
        found = Evaluation(
            accuracy=hits / len(labels),
            loss=0.0,
            predictions=predictions,
            labels=labels,
            confidences=torch.ones(len(labels)),
        )
        low, high = wilson(hits, len(labels))
        return {
            "folds": folds,
            "images": len(labels),
            "accuracy": found.accuracy,
            "low": float(low),
            "high": float(high),
            "balanced_accuracy": found.balanced_accuracy,
            "macro_f1": found.macro_f1,
        }


def cross_validate(run: Run, train: Train, say: Say) -> OutOfFold:
    """Train and measure what is left of the folds.

    Args:
        run: of a recipe with ``folds``; its folder is locked.
        train: does a fold's run.
        say: told how each fold came out.

    Raises:
        UserError: a class has fewer images than there are folds, the images have changed since
            the first folds were trained, or as from ``train``.
    """
    recipe = run.recipe
    assert recipe.folds is not None
    task = open_recipe_task(recipe)
    check_folds(task, recipe.folds)
    _, contents, _ = known_task(run, task, say)
    if rank() == 0:
        run.clean_up()
        write_recipe(run.folder / RECIPE_FILE, recipe)
        write_images(run, contents)
    if recipe.time_limit is not None:
        say(f"--time_limit {recipe.time_limit} is for {recipe.folds} folds and the whole together")
    if recipe.init_from is not None:
        say(
            "warning: what --init_from has learned from may be among the images that a fold leaves"
            " out, and would flatter the out-of-fold accuracy"
        )
    results: list[RunResult] = []
    runs: list[Run] = []
    try:
        for number in range(recipe.folds):
            epochs = results[0].epochs if results else None
            runs.append(_fold_run(run, number, epochs=epochs))
            results.append(_came_of(runs[-1], train, say))
    except BaseException:
        if rank() == 0:
            run.clean_up()
        raise
    held_out = HeldOut.of([HeldOut.read(fold.held_out) for fold in runs])
    return OutOfFold(
        images=_calibrated([read_predictions(fold.folder) for fold in runs], held_out),
        held_out=held_out,
        epochs=results[0].epochs,
        seconds=sum(sum(result.seconds.values()) for result in results),
    )


def _came_of(fold: Run, train: Train, say: Say) -> RunResult:
    number, folds = fold.recipe.data.fold, fold.recipe.data.folds
    try:
        result = train(fold, number == 0)
    except NonFiniteLoss as error:
        raise NonFiniteLoss(f"in fold {number + 1} of {folds}, {error}") from error
    say(f"fold {number + 1} of {folds}: {result.val_accuracy:.1%} of the images left out are right")
    return result


def _fold_run(run: Run, number: int, *, epochs: int | None) -> Run:
    """The run that leaves out one fold.

    Args:
        run: the whole.
        number: of the fold, from 0.
        epochs: those of the first fold, which shares the time limit out; None: it is the first.
    """
    recipe = run.recipe
    engine: dict[str, Any] = {"validate_every": 0, "track": [], "keep_checkpoint": False}
    if epochs is not None:
        engine["epochs"] = epochs
    return Run(
        dataclasses.replace(
            recipe,
            folds=None,
            time_limit=_share(recipe) if epochs is None else None,
            data=dataclasses.replace(recipe.data, fit_on="train", folds=recipe.folds, fold=number),
            engine=dataclasses.replace(recipe.engine, **engine),
        ),
        run.folds / str(number),
        read_test=False,
        is_fold=True,
    )


def _share(recipe: Recipe) -> str | None:
    """The first fold's part of the time limit: a fold trains on all images but its own."""
    if recipe.time_limit is None or recipe.folds is None:
        return None
    seconds = seconds_in(recipe.time_limit, key="time_limit")
    # K folds of (K - 1) / K of the images, and the whole, are K times all images.
    return f"{max(1, round(seconds * (recipe.folds - 1) / recipe.folds**2))}s"


def _calibrated(images: list[list[Predicted]], held_out: HeldOut | None) -> list[Predicted]:
    """All images, with their fold, and probabilities as the temperature of all of them has them."""
    told = [
        dataclasses.replace(image, split=OUT_OF_FOLD, further=image.further | {"fold": str(number)})
        for number, of_fold in enumerate(images)
        for image in of_fold
    ]
    if held_out is None:
        return told
    divided = held_out.logits / temperature(held_out.logits, held_out.labels)
    p = divided.softmax(-1)
    sure, given = p.amax(-1).tolist(), p.gather(1, held_out.labels[:, None])[:, 0].tolist()
    return [
        dataclasses.replace(image, probability=probability, given=of_label)
        for image, probability, of_label in zip(told, sure, given, strict=True)
    ]

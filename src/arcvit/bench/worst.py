"""Where the best row fails most: the worst task's confusion, and photos it gets wrong."""

import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arcvit.bench.collect import Collected, FinishedRun
from arcvit.core.errors import UserError
from arcvit.pages.measured import Measured, measured_splits
from arcvit.pages.photos import Photos

_PHOTOS = 12


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The worst task of a row.

    Attributes:
        task: its name.
        row: the row.
        seed: seed of the run that is shown.
        measured: what that run says of the test images.
        photos: some of the most frequent confusions: image as a data URI, truth, answer, count.
            Empty where the images aren't there any more.
    """

    task: str
    row: str
    seed: int
    measured: Measured
    photos: list[dict[str, str]]


def worst_task(collected: Collected, row: str) -> Worst | None:
    """The task on which a row's mean over its seeds is worst, as its first seed took it.

    None where that run keeps no predictions: another task would not be the worst. Tasks of several
    labels an image have no confusion.
    """
    means = {
        task: statistics.fmean(known)
        for task in collected.tasks
        if (known := _accuracies(collected.runs.get((task, row), ())))
    }
    if not means:
        return None
    task = min(means, key=lambda name: means[name])
    run = collected.runs[task, row][0]
    try:
        measured = measured_splits(run.folder).get("test")
    except UserError:
        return None
    if measured is None:
        return None
    return Worst(
        task=task,
        row=row,
        seed=run.result.seed,
        measured=measured,
        photos=_photos(run.folder, measured),
    )


def _accuracies(runs: tuple[FinishedRun, ...]) -> list[float]:
    return [value for r in runs if (value := r.result.test_accuracy) is not None]


def _photos(run: Path, measured: Measured) -> list[dict[str, str]]:
    """One photo of each of the most frequent confusions."""
    wrong = measured.counts
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PHOTOS]
    pairs = [
        pair for pair in zip(*np.unravel_index(order, wrong.shape), strict=True) if wrong[pair]
    ]
    first = [
        int(np.flatnonzero((measured.labels == truth) & (measured.predictions == answer))[0])
        for truth, answer in pairs
    ]
    small = Photos(run).small([measured.images[index] for index in first])
    return [
        {
            "image": image,
            "truth": measured.classes[truth],
            "answer": measured.classes[answer],
            "count": f"{count} time{'s' if count != 1 else ''}",
        }
        for (truth, answer), image in zip(pairs, small, strict=True)
        if image is not None
        for count in [wrong[truth, answer]]
    ]

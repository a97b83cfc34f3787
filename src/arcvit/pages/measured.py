"""A measured split of a run as arrays: what each image is, and what the model takes it for."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arcvit.core.errors import UserError
from arcvit.core.predictions import OUT_OF_FOLD, PREDICTIONS_FILE, Predicted, read_predictions
from arcvit.core.shown import csv_cell
from arcvit.core.task import read_task
from arcvit.recipe.run import ADAPTER_FOLDER

_ORDER = ("test", "val", OUT_OF_FOLD)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A split, N images of K classes.

    Attributes:
        split: val, test or out_of_fold.
        classes: names of the classes.
        images: what is said of each image.
        labels: true class of each, (N,).
        predictions: predicted class of each, (N,).
        probabilities: of the predicted class, calibrated where the run is, (N,).
        uncalibrated: the same as softmax gives it, (N,).
    """

    split: str
    classes: list[str]
    images: list[Predicted]
    labels: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    uncalibrated: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    @property
    def right(self) -> np.ndarray:
        """Whether each image is taken for what it is, (N,)."""
        return self.labels == self.predictions

    @property
    def counts(self) -> np.ndarray:
        """Images by true and predicted class, (K, K)."""
        counts = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        np.add.at(counts, (self.labels, self.predictions), 1)
        return counts


def measured_splits(run: Path) -> dict[str, Measured]:
    """The splits that a run has measured, by name; test comes first.

    Raises:
        UserError: predictions or task aren't there, or are damaged.
    """
    classes = read_task(run / ADAPTER_FOLDER).labels
    place = {str(csv_cell(name)): index for index, name in enumerate(classes)}
    images = read_predictions(run)
    there = {image.split for image in images}
    splits = [split for split in _ORDER if split in there]
    unknown = next((i.label for i in images if i.label not in place), None)
    unknown = next((i.predicted for i in images if i.predicted not in place), unknown)
    if unknown is not None:
        raise UserError(
            f"{run / PREDICTIONS_FILE} has the class {unknown!r}, which {run / ADAPTER_FOLDER}"
            " doesn't know: expected the predictions of this run, train it again."
        )
    return {
        split: _measured(split, classes, place, [i for i in images if i.split == split])
        for split in splits
    }


def _measured(
    split: str, classes: list[str], place: dict[str, int], images: list[Predicted]
) -> Measured:
    return Measured(
        split=split,
        classes=classes,
        images=images,
        labels=np.array([place[image.label] for image in images]),
        predictions=np.array([place[image.predicted] for image in images]),
        probabilities=np.array([image.probability for image in images]),
        uncalibrated=np.array([image.uncalibrated for image in images]),
    )

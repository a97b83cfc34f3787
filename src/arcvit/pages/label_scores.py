"""A measured split whose images have any number of labels: N images, K labels. No torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arcvit.core.errors import UserError
from arcvit.core.multilabel import average_precision, label_f1
from arcvit.core.predictions import PREDICTIONS_FILE, Predicted, read_predictions
from arcvit.core.probabilities import read_probabilities
from arcvit.core.task import NO_THRESHOLD, read_task
from arcvit.pages.scores import Share
from arcvit.recipe.run import ADAPTER_FOLDER


@dataclass(frozen=True, kw_only=True)
class MeasuredLabels:
    """A split.

    Attributes:
        split: val or test.
        classes: names of the labels.
        images: what is said of each image.
        probabilities: of each image and label, calibrated where the run is, (N, K).
        truth: whether it has it, (N, K).
        thresholds: from which probability on a label is given, (K,).
    """

    split: str
    classes: list[str]
    images: list[Predicted]
    probabilities: np.ndarray
    truth: np.ndarray
    thresholds: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    @property
    def given(self) -> np.ndarray:
        """Whether each image is given each label, (N, K)."""
        return np.asarray(self.probabilities >= self.thresholds)

    @property
    def right(self) -> np.ndarray:
        """Whether all labels of an image are right, (N,)."""
        return np.asarray((self.given == self.truth).all(1))


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """How well a label is told.

    Attributes:
        name: the label.
        support: images that have it.
        average_precision: whatever the threshold; None where no image has it.
        precision: how many of those given it have it.
        recall: how many of those that have it are given it.
        f1: harmonic mean of both; None where no image has it or is given it.
        threshold: from which probability on it is given.
    """

    name: str
    support: int
    average_precision: float | None
    precision: Share
    recall: Share
    f1: float | None
    threshold: float


def measured_labels(run: Path) -> dict[str, MeasuredLabels]:
    """The splits that a run has measured, by name; test comes first.

    Raises:
        UserError: predictions, probabilities or task aren't there, or are damaged.
    """
    task = read_task(run / ADAPTER_FOLDER)
    images = read_predictions(run)
    said = read_probabilities(run, labels=len(task.labels))
    thresholds = task.thresholds or [NO_THRESHOLD] * len(task.labels)
    found = {}
    for split in sorted(said, key=lambda split: (split != "test", split)):
        of_split = [image for image in images if image.split == split]
        if len(of_split) != len(said[split].truth):
            raise UserError(
                f"{run / PREDICTIONS_FILE} has {len(of_split):,} {split} images, and the"
                f" probabilities beside it are of {len(said[split].truth):,}: train the run again."
            )
        found[split] = MeasuredLabels(
            split=split,
            classes=task.labels,
            images=of_split,
            probabilities=said[split].probabilities,
            truth=said[split].truth,
            thresholds=np.array(thresholds),
        )
    return found


def label_scores(measured: MeasuredLabels) -> list[LabelScore]:
    """The scores of each label, in their order."""
    given, truth = measured.given, measured.truth
    hits, support, asked = (given & truth).sum(0), truth.sum(0), given.sum(0)
    precisions = average_precision(measured.probabilities, truth)
    f1 = label_f1(given, truth)
    return [
        LabelScore(
            name=name,
            support=int(support[k]),
            average_precision=_number(precisions[k]),
            precision=Share.measured(hits[k], asked[k]),
            recall=Share.measured(hits[k], support[k]),
            f1=_number(f1[k]),
            threshold=float(measured.thresholds[k]),
        )
        for k, name in enumerate(measured.classes)
    ]


def missed_and_false(measured: MeasuredLabels, most: int = 30) -> list[tuple[str, str, int]]:
    """Which label is missed where which other is given falsely, and on how many images."""
    missed = (measured.truth & ~measured.given).astype(np.int64)
    false = (measured.given & ~measured.truth).astype(np.int64)
    counts = missed.T @ false
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    return [
        (measured.classes[i], measured.classes[j], int(counts[i, j]))
        for i, j in zip(*np.unravel_index(order, counts.shape), strict=True)
        if counts[i, j]
    ]


def surest_mistakes(measured: MeasuredLabels, most: int) -> list[tuple[int, int]]:
    """Image and label of the decisions that are wrong and furthest from their thresholds.

    Each by how much of the way from its threshold to certainty it is; of an image the worst.
    """
    p, limits = measured.probabilities, measured.thresholds
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(measured.given, (p - limits) / (1 - limits), (limits - p) / limits)
    wrong = measured.given != measured.truth
    reach = np.where(wrong, np.nan_to_num(reach), -1)
    worst = reach.argmax(1)
    rows = np.flatnonzero(wrong.any(1))
    rows = rows[np.argsort(-reach[rows, worst[rows]], kind="stable")][:most]
    return [(int(row), int(worst[row])) for row in rows]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

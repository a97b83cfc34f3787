"""What a measured split comes to: by class, by slice, by how sure the model is. No torch."""

from dataclasses import dataclass

import numpy as np

from arcvit.core.intervals import wilson
from arcvit.core.predictions import Predicted

BINS = 15
"""Bins of equal width for the calibration error, as in Guo et al., ICML 2017."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share in [0, 1] of so many, with its 95 % interval.

    Attributes:
        hits: how many.
        of: out of how many.
        low: lower end of the interval.
        high: upper end.
    """

    hits: int
    of: int
    low: float
    high: float

    @classmethod
    def measured(cls, hits: int, of: int) -> "Share":
        """The share with Wilson's interval."""
        low, high = wilson(hits, of)
        return cls(hits=int(hits), of=int(of), low=float(low), high=float(high))

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.hits / self.of if self.of else None


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """How well a class is told from the others.

    Attributes:
        name: the class.
        support: images of it.
        precision: how many of those taken for it are of it.
        recall: how many of it are taken for it.
        f1: harmonic mean of both; None where no image is of the class or taken for it.
    """

    name: str
    support: int
    precision: Share
    recall: Share
    f1: float | None


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Images that a further column of the data's table puts together.

    Attributes:
        column: name of the column.
        value: what it says of these images.
        accuracy: how many of them are answered right.
    """

    column: str
    value: str
    accuracy: Share


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Images whose predicted class has a probability in one bin.

    Attributes:
        confidence: their mean probability.
        accuracy: how many of them are answered right.
    """

    confidence: float
    accuracy: Share


def class_scores(classes: list[str], counts: np.ndarray) -> list[ClassScore]:
    """Scores of each class.

    Args:
        classes: their names.
        counts: images by true and predicted class, (K, K).
    """
    hits, true, predicted = np.diag(counts), counts.sum(1), counts.sum(0)
    return [
        ClassScore(
            name=name,
            support=int(true[k]),
            precision=Share.measured(hits[k], predicted[k]),
            recall=Share.measured(hits[k], true[k]),
            f1=float(2 * hits[k] / (true[k] + predicted[k])) if true[k] + predicted[k] else None,
        )
        for k, name in enumerate(classes)
    ]


def slices(images: list[Predicted]) -> list[Slice]:
    """Accuracy by the values of each further column, in the order of the columns."""
    found: dict[tuple[str, str], list[bool]] = {}
    for image in images:
        for column, value in image.further.items():
            if value:
                found.setdefault((column, value), []).append(image.is_right)
    columns = list(dict.fromkeys(column for image in images for column in image.further))
    places = sorted(found, key=lambda place: (columns.index(place[0]), place[1]))
    return [
        Slice(column=c, value=v, accuracy=Share.measured(sum(found[c, v]), len(found[c, v])))
        for c, v in places
    ]


def reliability(probabilities: np.ndarray, right: np.ndarray, *, bins: int = BINS) -> list[Bin]:
    """How often answers of about the same probability are right; empty bins are left out.

    Args:
        probabilities: of the predicted classes, (N,).
        right: whether each answer is right, (N,).
        bins: bins of equal width.
    """
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    return [
        Bin(
            confidence=float(probabilities[place == b].mean()),
            accuracy=Share.measured(right[place == b].sum(), (place == b).sum()),
        )
        for b in np.unique(place)
    ]


def calibration_error(probabilities: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error: by how much probabilities miss the accuracy, on average."""
    found = reliability(probabilities, right)
    missed = [abs(b.confidence - b.accuracy.hits / b.accuracy.of) * b.accuracy.of for b in found]
    return float(sum(missed) / len(right))


def coverage(
    probabilities: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The surest 1, 2, ..., N answers: how many of them are right, and the least sure of them.

    Answers of one probability come and go together: only whole steps are given.

    Args:
        probabilities: of the predicted classes, (N,).
        right: whether each answer is right, (N,).

    Returns:
        How many are answered, how many of these are right, and the probability from which on, each
        (M,) with M <= N.
    """
    order = np.argsort(-probabilities, kind="stable")
    sure, hits = probabilities[order], np.cumsum(right[order])
    ends = np.append(np.flatnonzero(np.diff(sure)), len(sure) - 1)
    return ends + 1, hits[ends], sure[ends]

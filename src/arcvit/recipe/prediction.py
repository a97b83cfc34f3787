"""What is said of one image, in the words that Python, JSON lines, tables and servers share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from arcvit.data.task import JOINT


class Ranked(NamedTuple):
    """A label and how probable it is."""

    label: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What is said of one image.

    Attributes:
        path: the image's file; None where there is none.
        label: the most probable label, also where the image isn't known, and, with several labels
            an image, where it isn't given; None where the image can't be read.
        labels: all labels that the image is given, the most probable first: where it has any number
            of them those that reach their thresholds, possibly none, else ``label`` alone.
        probability: how probable ``label`` is, in [0, 1].
        known: whether the image is like those that were learned; None where that can't be told.
        top: the most probable labels, the first one included.
        error: why the image can't be read; None where it can.
        blank: whether there is nothing to be seen on it: each channel has a single value.
    """

    path: Path | None
    label: str | None = None
    labels: tuple[str, ...] = ()
    probability: float | None = None
    known: bool | None = None
    top: tuple[Ranked, ...] = ()
    error: str | None = None
    blank: bool = False

    @property
    def record(self) -> dict[str, Any]:
        """The prediction as JSON can hold it."""
        return {
            "path": None if self.path is None else str(self.path),
            "label": self.label,
            "labels": list(self.labels),
            "probability": self.probability,
            "known": self.known,
            "top": [
                {"label": ranked.label, "probability": ranked.probability} for ranked in self.top
            ],
            "error": self.error,
        }

    def row(self, top: int, *, multilabel: bool = False) -> list[object]:
        """The cells of a table below ``columns(top)``; what there isn't is empty."""
        known = "" if self.known is None else str(self.known).lower()
        further = [cell for r in self.top[1:top] for cell in (r.label, f"{r.probability:.6g}")]
        further += [""] * (2 * (top - 1) - len(further))
        probability = "" if self.probability is None else f"{self.probability:.6g}"
        path = "" if self.path is None else str(self.path)
        labels = [JOINT.join(self.labels)] if multilabel else []
        return [path, *labels, self.label or "", probability, known, self.error or "", *further]


def columns(top: int, *, multilabel: bool = False) -> list[str]:
    """The head of a table of predictions with this many labels.

    Args:
        top: the most probable labels of each image.
        multilabel: whether an image has any number of them: ``labels`` has those that it is given,
            ``|`` between, as a table to learn from has them.
    """
    further = [f"{what}_{rank}" for rank in range(2, top + 1) for what in ("label", "probability")]
    labels = ["labels"] if multilabel else []
    return ["path", *labels, "label", "probability", "known", "error", *further]

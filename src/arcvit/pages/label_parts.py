"""What the page of a run shows of images that have any number of labels."""

import csv
import io
from collections.abc import Mapping
from typing import Any

from arcvit.core.metric import METRIC_NAMES
from arcvit.core.shown import csv_cell
from arcvit.core.task import NO_THRESHOLD
from arcvit.pages import figures
from arcvit.pages.label_scores import (
    LabelScore,
    MeasuredLabels,
    label_scores,
    missed_and_false,
    surest_mistakes,
)
from arcvit.pages.page import data_uri, percent
from arcvit.pages.photos import Photos
from arcvit.pages.scores import calibration_error, slices

_GALLERY = 24


def label_parts(measured: MeasuredLabels, photos: Photos, split: str) -> dict[str, Any]:
    """The parts of the template ``labels.html.j2``; ``split`` is what the split is called there."""
    scores = label_scores(measured)
    probabilities, truth = measured.probabilities.ravel(), measured.truth.ravel()
    return {
        "split": split,
        "images": len(measured),
        "wrong": int((~measured.right).sum()),
        "empty": int((~measured.truth.any(1)).sum()),
        "scores": scores,
        "chosen": bool((measured.thresholds != NO_THRESHOLD).any()),
        "csv": data_uri(label_table(scores).encode(), "text/csv"),
        "pairs": missed_and_false(measured),
        "mistakes": _gallery(measured, photos),
        "reliability": data_uri(
            figures.reliability_diagram(probabilities, probabilities, truth), "image/svg+xml"
        ),
        "error": calibration_error(probabilities, truth),
        "slices": slices(measured.images),
        # Last: by now all were asked for.
        "problem": photos.problem,
        "missing": photos.missing,
    }


def label_tiles(metrics: Mapping[str, float | None], split: str) -> list[dict[str, str]]:
    """The figures of a split that come first on the page."""
    notes = {
        "mAP": "mean of the labels' average precisions",
        "macro_f1": "mean of the labels' F1 scores",
        "micro_f1": "of all decisions together",
        "exact_match": "share of the images",
    }
    return [
        {"name": f"{split} {METRIC_NAMES.get(name, name)}", "value": percent(value), "note": note}
        for name, note in notes.items()
        for value in [metrics.get(name)]
    ]


def label_table(scores: list[LabelScore]) -> str:
    """The scores of the labels as CSV, with the ends of the intervals."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = ("class", "images", "average_precision", "precision", "recall", "f1", "threshold")
    ends = ("precision_low", "precision_high", "recall_low", "recall_high")
    writer.writerow([*columns, *ends])
    for score in scores:
        both = (score.precision, score.recall)
        shares = [score.average_precision, *(s.value for s in both), score.f1, score.threshold]
        shares += [end for s in both for end in (s.low, s.high)]
        numbers = ["" if value is None else round(value, 4) for value in shares]
        writer.writerow([csv_cell(score.name), score.support, *numbers])
    return stream.getvalue()


def _gallery(measured: MeasuredLabels, photos: Photos) -> list[dict[str, Any]]:
    """The surest mistakes, with their photos."""
    chosen = surest_mistakes(measured, _GALLERY)
    images = [measured.images[row] for row, _ in chosen]
    small = [None] * len(images) if photos.problem else photos.small(images)
    return [
        {
            "image": uri,
            "path": image.path,
            "true": image.label,
            "label": measured.classes[label],
            "is_false": bool(measured.given[row, label]),
            "probability": float(measured.probabilities[row, label]),
        }
        for (row, label), image, uri in zip(chosen, images, small, strict=True)
    ]

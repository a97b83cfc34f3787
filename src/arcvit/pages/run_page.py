"""The page of one run: what it learned, what it gets wrong, and when to believe it."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from arcvit.core.errors import UserError
from arcvit.core.files import write_text
from arcvit.core.metrics import METRICS_FILE, learned_nothing, read_metrics
from arcvit.core.predictions import OUT_OF_FOLD
from arcvit.core.result import RunResult, read_result
from arcvit.core.shown import csv_cell
from arcvit.pages import figures
from arcvit.pages.confusion import IN_A_CELL, matrix, pairs
from arcvit.pages.label_parts import label_parts, label_table, label_tiles
from arcvit.pages.label_scores import MeasuredLabels, label_scores, measured_labels
from arcvit.pages.measured import Measured, measured_splits
from arcvit.pages.page import data_uri, percent, write_page
from arcvit.pages.photos import Photos
from arcvit.pages.scores import (
    ClassScore,
    Share,
    calibration_error,
    class_scores,
    coverage,
    slices,
)
from arcvit.recipe.run import RECIPE_FILE

PAGE_FILE = "index.html"
CLASSES_FILE = "classes.csv"
_GALLERY = 20
_COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.5)
_SPLIT_NAMES = {"test": "test", "val": "validation", OUT_OF_FOLD: "out-of-fold"}


def write_run_page(
    run: Path, *, split: str | None = None, photos: Path | None = None
) -> list[Path]:
    """Write ``index.html`` and, where images were measured, ``classes.csv`` into a run folder.

    What is damaged or gone is told on the page and left out.

    Args:
        run: a finished run.
        split: the split to show, test, val or out_of_fold; None: the first of them there is.
        photos: where the images lie now; None: where the recipe says.

    Returns:
        The files.

    Raises:
        UserError: it isn't a finished run, or the split wasn't measured.
    """
    result = read_result(run)
    notes: list[str] = []
    splits: Mapping[str, Measured | MeasuredLabels] = {}
    try:
        splits = measured_labels(run) if result.kind == "multilabel" else measured_splits(run)
    except UserError as error:
        if result.metrics or result.out_of_fold is not None:
            notes.append(str(error))
    if split is not None and split not in splits:
        raise UserError(
            f"--split is {split!r}: expected a split that the run measured,"
            f" {' or '.join(splits) or 'and it measured none'}."
        )
    measured = splits[split] if split else next(iter(splits.values()), None)
    epochs = read_metrics(run)
    if not epochs:
        notes.append(f"{METRICS_FILE} isn't there or is damaged: there are no learning curves.")
    complaint = learned_nothing(epochs, result.guessing_loss) if epochs else None
    if complaint is not None:
        notes.append(f"The run {complaint}.")
    if result.skipped_images:
        notes.append(f"{result.skipped_images:,} unreadable images were left out.")
    files = [run / PAGE_FILE]
    if measured is not None:
        write_text(run / CLASSES_FILE, _classes_of(measured))
        files.append(run / CLASSES_FILE)
    write_page(
        run / PAGE_FILE,
        "run.html.j2",
        run=str(run),
        result=result,
        tiles=_tiles(result, splits),
        facts=_facts(result),
        recipe=_recipe_lines(run),
        notes=notes,
        curves=[_svg(curve) for curve in figures.learning_curves(epochs)] if epochs else [],
        **_parts(measured, run, photos),
    )
    return files


def _classes_of(measured: Measured | MeasuredLabels) -> str:
    if isinstance(measured, MeasuredLabels):
        return label_table(label_scores(measured))
    return _class_table(class_scores(measured.classes, measured.counts))


def _parts(
    measured: Measured | MeasuredLabels | None, run: Path, photos: Path | None
) -> dict[str, Any]:
    """``measured`` or ``labels``, by whether an image has one label; None: there is no such."""
    parts: dict[str, Any] = {"measured": None, "labels": None}
    if isinstance(measured, MeasuredLabels):
        name = _SPLIT_NAMES.get(measured.split, measured.split)
        parts["labels"] = label_parts(measured, Photos(run, photos), name)
    elif measured is not None:
        parts["measured"] = _measured_parts(measured, Photos(run, photos))
    return parts


def _measured_parts(measured: Measured, photos: Photos) -> dict[str, Any]:
    """What the page shows of a measured split."""
    right, sure = measured.right, measured.probabilities
    is_calibrated = not np.array_equal(sure, measured.uncalibrated)
    table = slices(measured.images)
    return {
        "split": _SPLIT_NAMES.get(measured.split, measured.split),
        "images": len(measured),
        "wrong": int((~right).sum()),
        "in_a_cell": IN_A_CELL,
        "matrix": matrix(measured, photos),
        "pairs": pairs(measured),
        "mistakes": _gallery(measured, photos, np.flatnonzero(~right), surest_first=True),
        "hits": _gallery(measured, photos, np.flatnonzero(right), surest_first=False),
        "classes": class_scores(measured.classes, measured.counts),
        "csv": data_uri(
            _class_table(class_scores(measured.classes, measured.counts)).encode(), "text/csv"
        ),
        "reliability": _svg(figures.reliability_diagram(sure, measured.uncalibrated, right)),
        "error": calibration_error(sure, right),
        "error_before": calibration_error(measured.uncalibrated, right) if is_calibrated else None,
        "coverage": _svg(figures.coverage_curve(sure, right)),
        "answered": _answered(sure, right),
        "slices": table,
        # Last: by now all were asked for.
        "problem": photos.problem,
        "missing": photos.missing,
    }


def _tiles(
    result: RunResult, splits: Mapping[str, Measured | MeasuredLabels]
) -> list[dict[str, str]]:
    """The figures that come first: what they are, how large, and how sure."""
    if result.kind == "multilabel":
        last = next((split for split in ("test", "val") if split in result.metrics), None)
        return [] if last is None else label_tiles(result.metrics[last], _SPLIT_NAMES[last])
    tiles, found = [], result.out_of_fold
    for name, split, value in (
        ("test accuracy", "test", result.test_accuracy),
        ("validation accuracy", "val", result.val_accuracy),
        ("out-of-fold accuracy", OUT_OF_FOLD, found["accuracy"] if found else None),
    ):
        if value is None:
            continue
        note = ""
        if split in splits:
            share = Share.measured(splits[split].right.sum(), len(splits[split]))
            note = f"{share.hits:,} of {share.of:,} images; {_interval(share)}"
        if found and split == OUT_OF_FOLD:
            note += f"; each left out of one of {found['folds']:.0f} folds"
        tiles.append({"name": name, "value": percent(value), "note": note})
    balanced = result.test_balanced_accuracy
    balanced = result.val_balanced_accuracy if balanced is None else balanced
    if balanced is not None:
        tiles.append(
            {"name": "balanced accuracy", "value": percent(balanced), "note": "mean of the classes"}
        )
    f1 = result.metrics.get("test", result.metrics.get("val", {})).get("macro_f1")
    if f1 is not None:
        tiles.append(
            {"name": "macro F1", "value": f"{f1:.3f}", "note": "mean of the classes' F1 scores"}
        )
    if result.majority_share is not None:
        tiles.append(
            {
                "name": "most frequent class",
                "value": percent(result.majority_share),
                "note": "what always answering it would get",
            }
        )
    if result.test_group_accuracy is not None:
        tiles.append(
            {
                "name": "group accuracy",
                "value": percent(result.test_group_accuracy),
                "note": f"of {result.test_groups:,} groups of test images",
            }
        )
    return tiles


def _facts(result: RunResult) -> list[tuple[str, str]]:
    """What was done and what it took, line by line."""
    seconds = result.seconds
    memory = result.peak_memory_mb
    return [
        ("method", result.method),
        ("backbone", result.backbone),
        ("preprocessing", result.preset),
        ("images trained on", f"{result.train_images:,} of {result.classes:,} classes"),
        ("selection", result.selection),
        ("epochs, seed", f"{result.epochs}, {result.seed}"),
        (
            "trained parameters",
            f"{result.params['adapter']:,} in the adapter, {result.params['head']:,} in the head",
        ),
        ("adapter file", f"{result.adapter_bytes / 1000:,.0f} KB without the head"),
        (
            "time",
            f"{seconds['train']:,.0f} s training ({result.images_per_second:,.0f} images/s),"
            f" {seconds['eval']:,.0f} s measuring",
        ),
        ("largest memory", "not known" if memory is None else f"{memory:,.0f} MB"),
        (
            "versions",
            ", ".join(
                f"{name} {number}"
                for name, number in {"arcvit": result.arcvit_version, **result.versions}.items()
            ),
        ),
    ]


def _recipe_lines(run: Path) -> list[str]:
    try:
        return (run / RECIPE_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        return [f"{RECIPE_FILE} can't be read: {error}"]


def _gallery(
    measured: Measured, photos: Photos, rows: np.ndarray, *, surest_first: bool
) -> list[dict[str, Any]]:
    """The most or least sure of some images, with their photos."""
    sure = measured.probabilities[rows]
    chosen = rows[np.argsort(-sure if surest_first else sure, kind="stable")][:_GALLERY].tolist()
    images = [measured.images[row] for row in chosen]
    small = [None] * len(images) if photos.problem else photos.small(images)
    return [
        {
            "image": uri,
            "path": image.path,
            "true": measured.classes[measured.labels[row]],
            "predicted": measured.classes[measured.predictions[row]],
            "probability": image.probability,
        }
        for row, image, uri in zip(chosen, images, small, strict=True)
    ]


def _answered(sure: np.ndarray, right: np.ndarray) -> list[dict[str, Any]]:
    """For some shares of images that are answered: how right, and from which probability on."""
    answered, hits, least = coverage(sure, right)
    wanted = [math.floor(share * len(right) + 1e-9) for share in _COVERAGES]
    # Several may be the same where there are few images.
    places = dict.fromkeys(int(place) for place in np.searchsorted(answered, wanted))
    return [
        {
            "coverage": answered[place] / len(right),
            "probability": float(least[place]),
            "accuracy": Share.measured(hits[place], answered[place]),
        }
        for place in places
    ]


def _class_table(scores: list[ClassScore]) -> str:
    """The scores of the classes as CSV, with the ends of the intervals."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = ("class", "images", "precision", "recall", "f1")
    ends = ("precision_low", "precision_high", "recall_low", "recall_high")
    writer.writerow([*columns, *ends])
    for score in scores:
        shares = [score.precision.value, score.recall.value, score.f1]
        both = [end for s in (score.precision, score.recall) for end in (s.low, s.high)]
        numbers = ["" if value is None else round(value, 4) for value in (*shares, *both)]
        writer.writerow([csv_cell(score.name), score.support, *numbers])
    return stream.getvalue()


def _interval(share: Share) -> str:
    return f"95 % interval {100 * share.low:.1f} to {100 * share.high:.1f}"


def _svg(content: bytes) -> str:
    return data_uri(content, "image/svg+xml")

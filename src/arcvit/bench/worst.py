"""Where the best row fails most: the worst task's confusion, and photos it gets wrong."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arcvit.bench.collect import Collected, FinishedRun
from arcvit.bench.page import data_uri
from arcvit.core.files import read_json
from arcvit.core.task import read_task
from arcvit.data.pixels.preset import Decoding, Preprocessing
from arcvit.data.pixels.rgb import read_rgb
from arcvit.recipe.parser import read_recipe
from arcvit.recipe.prepare import open_recipe_task
from arcvit.recipe.run import ADAPTER_FOLDER, PREDICTIONS_FILE, RECIPE_FILE

_PHOTOS = 12


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The worst task of a row.

    Attributes:
        task: its name.
        row: the row.
        classes: names of the classes.
        counts: test images by true and predicted class.
        photos: some of the most frequent confusions: image as a data URI, truth, answer. Empty
            where the images aren't there any more.
    """

    task: str
    row: str
    classes: list[str]
    counts: np.ndarray
    photos: list[dict[str, str]]


def worst_task(collected: Collected, row: str) -> Worst | None:
    """The task on which a row's first seed is worst; None where no predictions were kept."""
    runs = [
        (task, found[0])
        for task in collected.tasks
        if (found := collected.runs.get((task, row)))
        and found[0].result.test_accuracy is not None
        and (found[0].folder / PREDICTIONS_FILE).is_file()
    ]
    if not runs:
        return None
    task, run = min(runs, key=lambda item: item[1].result.test_accuracy or 0.0)
    record = read_json(run.folder / PREDICTIONS_FILE)
    classes = read_task(run.folder / ADAPTER_FOLDER).labels
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (record["labels"], record["predictions"]), 1)
    return Worst(
        task=task,
        row=row,
        classes=classes,
        counts=counts,
        photos=_photos(run, record, classes, counts),
    )


def _photos(
    run: FinishedRun, record: dict[str, Any], classes: list[str], counts: np.ndarray
) -> list[dict[str, str]]:
    """One photo of each of the most frequent confusions."""
    recipe = read_recipe(run.folder / RECIPE_FILE)
    adapter = read_task(run.folder / ADAPTER_FOLDER)
    how = Preprocessing.from_dict(adapter.preprocessing).decoding
    try:
        split = open_recipe_task(recipe).split("test")
    except (ValueError, OSError):
        return []
    if list(split.labels) != record["labels"]:
        return []  # unreadable images were left out, or the data have changed
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PHOTOS]
    photos = []
    for truth, answer in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if not wrong[truth, answer]:
            break
        index = next(
            i
            for i, pair in enumerate(zip(record["labels"], record["predictions"], strict=True))
            if pair == (truth, answer)
        )
        try:
            image = _thumbnail(split.paths[index], how)
        except (OSError, ValueError):  # gone or damaged since
            continue
        photos.append(
            {
                "image": image,
                "truth": classes[truth],
                "answer": classes[answer],
                "count": str(wrong[truth, answer]),
            }
        )
    return photos


def _thumbnail(path: Path, how: Decoding) -> str:
    small = read_rgb(path, how)
    small.thumbnail((112, 112))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return data_uri(buffer.getvalue(), "image/png")

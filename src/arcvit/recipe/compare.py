"""Runs side by side, on the images that all of them were measured on. No torch."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arcvit.core.csv_table import write_csv
from arcvit.core.errors import UserError
from arcvit.core.intervals import wilson
from arcvit.core.mcnemar import mcnemar
from arcvit.core.metric import Metric
from arcvit.core.multilabel import mean_average_precision
from arcvit.core.predictions import OUT_OF_FOLD, Predicted, read_predictions
from arcvit.core.probabilities import read_probabilities
from arcvit.core.result import read_result
from arcvit.core.task import read_task
from arcvit.recipe.compare_labels import bootstrapped, chance, interval

if TYPE_CHECKING:
    from arcvit.recipe.run import Run

SPLITS = ("test", "val", OUT_OF_FOLD)
_COLUMNS = ("path", "hash", "label", "from", "to", "change", "predicted_from", "predicted_to")

_Key = tuple[str, str, int]
"""An image by its content and label, and which of several copies it is."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One of the runs.

    Attributes:
        run: its folder.
        measured: images of the split that it was measured on.
        value: accuracy on the images that all runs have, or mAP of several labels an image.
        low: lower end of the interval that holds the true value 95 times in 100.
        high: upper end.
    """

    run: Path
    measured: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What differs between two runs.

    Attributes:
        before: the one.
        after: the other.
        fixed: what ``before`` and ``after`` say of images that only the latter has right.
        broken: the same of images that only the former has right.
        p: how often so large a difference would come by chance: McNemar's exact test, two-sided; of
            mAP a paired bootstrap over images.
    """

    before: Path
    after: Path
    fixed: tuple[tuple[Predicted, Predicted], ...]
    broken: tuple[tuple[Predicted, Predicted], ...]
    p: float

    def rows(self) -> Iterator[tuple[str, ...]]:
        """A line of a table for each image that changed."""
        runs = (str(self.before), str(self.after))
        for change, images in (("fixed", self.fixed), ("broken", self.broken)):
            for one, other in images:
                image = (one.path, one.hash, one.label)
                yield (*image, *runs, change, one.predicted, other.predicted)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs side by side.

    Attributes:
        split: what they are compared on.
        metric: accuracy, or mAP of several labels an image; an image is right then where all of its
            labels are.
        images: how many images all of them were measured on.
        runs: each of them.
        differences: of each pair, in the order of the runs.
    """

    split: str
    metric: Metric
    images: int
    runs: tuple[Compared, ...]
    differences: tuple[Difference, ...]

    def write(self, file: str | Path) -> None:
        """Write the images that changed as a table: a line for each pair of runs and image."""
        write_csv(Path(file), _COLUMNS, (row for pair in self.differences for row in pair.rows()))


def compare(*runs: "Run | str | Path", split: str | None = None) -> Comparison:
    """Compare finished runs on the images that all of them were measured on.

    Images are the same by content, wherever they lie; one that has another label now isn't.

    Args:
        runs: two runs or their folders, or more.
        split: test, val or out_of_fold; None: the first of these that all have.

    Raises:
        UserError: a run isn't finished or says nothing of its images, or they have none in common.
    """
    folders = [Path(run) if isinstance(run, (str, Path)) else run.folder for run in runs]
    if len(folders) < 2:
        raise UserError("there is nothing to compare: expected two runs or more.")
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise UserError(f"{str(folder)!r} is given twice: expected different runs.")
    kinds = {read_result(folder).kind for folder in folders}
    if len(kinds) > 1:
        raise UserError(
            "some of the runs have one label an image and some several: expected runs of one kind."
        )
    every = [read_predictions(folder) for folder in folders]
    splits = [name for name in SPLITS if all(any(i.split == name for i in one) for one in every)]
    if split is not None and split not in SPLITS:
        raise UserError(f"split is {split!r}: expected one of {', '.join(SPLITS)}.")
    if not splits or split not in (None, *splits):
        what = " or ".join(SPLITS) if split is None else split
        raise UserError(f"not all of the runs were measured on {what} images: expected those.")
    chosen = split or splits[0]
    images = [_by_content(one, chosen) for one in every]
    common = [key for key in images[0] if all(key in other for other in images[1:])]
    if not common:
        raise UserError(
            f"the runs have no {chosen} image in common: expected runs that were measured on the"
            " same images, or on some of the same."
        )
    found = Comparison(
        split=chosen,
        metric="accuracy",
        images=len(common),
        runs=tuple(
            _compared(folder, one, common) for folder, one in zip(folders, images, strict=True)
        ),
        differences=tuple(
            _difference(before, after, common)
            for before, after in combinations(zip(folders, images, strict=True), 2)
        ),
    )
    return found if kinds == {"single"} else _by_label(found, images, common)


def _by_label(
    found: Comparison, images: Sequence[Mapping[_Key, Predicted]], common: Sequence[_Key]
) -> Comparison:
    """The same with mAP in place of the share of images that are right."""
    from arcvit.recipe.run import ADAPTER_FOLDER  # imports torch

    labels = [read_task(one.run / ADAPTER_FOLDER).labels for one in found.runs]
    if any(other != labels[0] for other in labels):
        raise UserError("the runs have different labels: expected runs of the same task.")
    probabilities, truth = [], np.zeros(0)
    for one, of_run in zip(found.runs, images, strict=True):
        said = read_probabilities(one.run, labels=len(labels[0])).get(found.split)
        place = {key: row for row, key in enumerate(of_run)}
        if said is None or len(said.truth) != len(place):
            raise UserError(
                f"{one.run} has other images in its probabilities than in its predictions: train it"
                " again."
            )
        rows = [place[key] for key in common]
        probabilities.append(said.probabilities[rows])
        truth = said.truth[rows]
    samples = bootstrapped(probabilities, truth)
    runs = []
    for one, own, sampled in zip(found.runs, probabilities, samples, strict=True):
        value = mean_average_precision(own, truth) or 0.0
        low, high = interval(value, sampled)
        runs.append(replace(one, value=value, low=low, high=high))
    pairs = zip(found.differences, combinations(samples, 2), strict=True)
    differences = tuple(replace(pair, p=chance(*both)) for pair, both in pairs)
    return replace(found, metric="mAP", runs=tuple(runs), differences=differences)


def _by_content(images: Sequence[Predicted], split: str) -> dict[_Key, Predicted]:
    copies: Counter[tuple[str, str]] = Counter()
    found = {}
    for image in images:
        if image.split == split:
            content = (image.hash, image.label)
            found[(*content, copies[content])] = image
            copies[content] += 1
    return found


def _compared(run: Path, images: Mapping[_Key, Predicted], common: Sequence[_Key]) -> Compared:
    hits = sum(images[key].is_right for key in common)
    low, high = wilson(hits, len(common))
    return Compared(
        run=run,
        measured=len(images),
        value=hits / len(common),
        low=float(low),
        high=float(high),
    )


def _difference(
    before: tuple[Path, Mapping[_Key, Predicted]],
    after: tuple[Path, Mapping[_Key, Predicted]],
    common: Sequence[_Key],
) -> Difference:
    pairs = [(before[1][key], after[1][key]) for key in common]
    fixed = tuple((a, b) for a, b in pairs if b.is_right and not a.is_right)
    broken = tuple((a, b) for a, b in pairs if a.is_right and not b.is_right)
    return Difference(
        before=before[0],
        after=after[0],
        fixed=fixed,
        broken=broken,
        p=mcnemar(len(broken), len(fixed)),
    )

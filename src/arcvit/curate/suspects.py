"""Labels to look at again: ``arcvit data suspects`` as a function."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from arcvit.backbones.source import DEMO
from arcvit.core.csv_table import write_csv
from arcvit.core.errors import UserError
from arcvit.core.predictions import OUT_OF_FOLD_FILE
from arcvit.curate.alike import alike
from arcvit.curate.confident import suspicion, wrong_labels
from arcvit.curate.features import eye_of, eye_of_backbone
from arcvit.curate.judge import by_folds, by_probe
from arcvit.data.config import DataConfig
from arcvit.data.contents import content_hashes
from arcvit.data.pixels.preset import Decoding
from arcvit.data.readers.layouts import open_task
from arcvit.data.task import JOINT, ImageTask, Split
from arcvit.recipe.keys import check_keys
from arcvit.recipe.load import load_trained
from arcvit.recipe.run import Run

COLUMNS = ("path", "label", "suggested", "score")
_DOUBTFUL = 0.5
"""From here on another label is more probable than the given one."""


@dataclass(frozen=True, kw_only=True)
class Photo:
    """An image of the task.

    Attributes:
        file: where it is.
        path: inside the task's folder.
        label: name of its class.
        split: the split it is in.
    """

    file: Path
    path: str
    label: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Suspect(Photo):
    """An image whose label may be wrong.

    Attributes:
        suggested: the label that is more probable.
        score: how suspicious the given label is, from 1/2 to 1.
    """

    suggested: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Twins:
    """Two images that show the same, with different labels or in different splits.

    Attributes:
        one: an image.
        other: the other one.
        similarity: cosine of their features.
        is_copy: whether the files are the same.
    """

    one: Photo
    other: Photo
    similarity: float
    is_copy: bool


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """What should be looked at again.

    Attributes:
        task: name of the task.
        images: number of images whose labels were judged.
        wrong: about how many of them are wrong, as confident learning estimates.
        suspects: images for which another label is more probable, the most suspicious first.
        twins: images that show the same, those of different labels first.
        unjudged: images of which nothing can be said.
        why_not: why.
        skipped: files that can't be read, each with the reason.
        judge: who judged them, in words.
        joint: classes whose names look like several labels; each was taken as one.
        decoding: how the files become pictures.
    """

    task: str
    images: int
    wrong: int
    suspects: tuple[Suspect, ...]
    twins: tuple[Twins, ...]
    unjudged: tuple[Photo, ...]
    why_not: str
    skipped: tuple[tuple[Path, str], ...]
    judge: str
    joint: tuple[str, ...]
    decoding: Decoding

    def write(self, file: str | Path) -> None:
        """Write a table with the columns path, label, suggested and score, atomically."""
        rows = ((s.path, s.label, s.suggested, f"{s.score:.4f}") for s in self.suspects)
        write_csv(Path(file), COLUMNS, rows)


def find_suspects(
    path: str | Path,
    *,
    run: str | Path | Run | None = None,
    backbone: str | None = None,
    seed: int = 0,
    **data: Any,
) -> Suspects:
    """Look for wrong labels and for images that are there twice.

    Each image is judged by who hasn't learned from it: by the folds of a run that has some, or by a
    linear probe on the other folds of all splits together. The probe reads the features of a
    backbone as it is, or those of the run.

    Args:
        path: a class folder, a table or another layout.
        run: a run, its folder, or an adapter.
        backbone: whose features are used where there is no run, demo unless given; with a run,
            where its backbone lies now, if it has moved.
        seed: decides which images come into which fold of the probe.
        data: further settings of the data, as ``label_column="kind"``.

    Raises:
        UserError: the images can't be opened, none can be read, there are fewer than two classes,
            no label can be judged, or the run gives an image several labels.
    """
    given = check_keys({"data": {"path": str(path), **data}})["data"]
    config = DataConfig(**given)
    opening = replace(config.opening(), to_measure=True, val_fraction=0, test_fraction=0)
    task = open_task(config.path, opening, tolerant=config.check == "warn")
    every = task.every()
    if len(set(every.labels)) < 2:
        raise UserError(
            f"{config.path} has images of one class: expected two, as no other could be right."
        )
    place = run.folder if isinstance(run, Run) else run
    if place is None:
        eye = eye_of_backbone(backbone or DEMO, every, config)
    else:
        loaded = load_trained(place, backbone=backbone, device="auto")
        if loaded.task.kind != "single":
            raise UserError(
                f"{place} gives an image several labels: expected a run of one label an image, as"
                " its label is judged against one other."
            )
        eye = eye_of(loaded)
    seen = eye.look(every, config)
    images = every.rows(seen.rows.tolist())
    labels, contents = np.array(images.labels), content_hashes(images.paths)
    found = None if place is None else by_folds(Path(place), task, images, contents)
    if found is None:
        of = eye.name
        if place is not None:
            of = f"{place}, which has no {OUT_OF_FOLD_FILE} (arcvit train --folds leaves it)"
        found = by_probe(seen.features, task, images, contents, seed=seed, of=of)
    judged = found.judged
    if not judged.any():
        raise UserError(f"no label of {config.path} can be judged: {found.why_not}.")
    photos = _photos(task, images)
    score, suggested = suspicion(found.p, labels)
    order = np.argsort(-score, kind="stable")
    doubtful = order[(score[order] > _DOUBTFUL) & judged[order]]
    splits = [photo.split for photo in photos]
    return Suspects(
        task=task.name,
        images=int(judged.sum()),
        wrong=wrong_labels(found.p[judged], labels[judged]),
        suspects=tuple(
            Suspect(
                **vars(photos[row]), suggested=task.classes[suggested[row]], score=float(score[row])
            )
            for row in doubtful
        ),
        twins=tuple(
            Twins(one=photos[one], other=photos[other], similarity=similarity, is_copy=is_copy)
            for one, other, similarity, is_copy in alike(seen.features, contents, labels, splits)
        ),
        unjudged=tuple(photos[row] for row in np.flatnonzero(~judged).tolist()),
        why_not=found.why_not,
        skipped=seen.skipped,
        judge=found.judge,
        joint=tuple(name for name in task.classes if JOINT in name),
        decoding=eye.prep.decoding,
    )


def _photos(task: ImageTask, images: Split) -> Sequence[Photo]:
    """Each image with the names of its class and split; of several splits the first."""
    split_of: dict[Path, str] = {}
    for name, split in task.splits.items():
        for path in split.paths:
            split_of.setdefault(path, name)
    return [
        Photo(file=path, path=task.inside(path), label=task.classes[label], split=split_of[path])
        for path, label in images
    ]

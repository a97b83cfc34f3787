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
from arcvit.core.task import Kind
from arcvit.curate.alike import alike
from arcvit.curate.features import eye_of, eye_of_backbone
from arcvit.curate.judge import by_folds, by_probe, doubts_of
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
        label: name of its class; of several labels their names with | between, empty for none.
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
        suggested: the label that is more probable; of several labels those it has, but for the one
            that is least probable, or with the one that it most probably lacks.
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
        kind: whether an image has one label or any number of them.
        images: number of images whose labels were judged.
        wrong: about how many of them have a wrong label, as confident learning estimates; or lack
            one, where they have any number.
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
    kind: Kind
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
    task: Kind | None = None,
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
        task: whether an image has one label (single) or any number of them (multilabel); None: as
            in the run, single without one.
        run: a run, its folder, or an adapter.
        backbone: whose features are used where there is no run, demo unless given; with a run,
            where its backbone lies now, if it has moved.
        seed: decides which images come into which fold of the probe.
        data: further settings of the data, as ``label_column="kind"``.

    Raises:
        UserError: the images can't be opened, none can be read, there are fewer than two classes,
            no label can be judged, or the run is of the other kind.
    """
    given = check_keys({"data": {"path": str(path), **data}})["data"]
    config = DataConfig(**given)
    place = run.folder if isinstance(run, Run) else run
    loaded = None if place is None else load_trained(place, backbone=backbone, device="auto")
    kind = task or (loaded.task.kind if loaded is not None else "single")
    if loaded is not None and loaded.task.kind != kind:
        raise UserError(
            f"{place} is of task {loaded.task.kind}, and task {kind} was given: leave --task out,"
            " as the run says how many labels an image has."
        )
    opened = _open(config, kind, kind_is_known=loaded is not None)
    every = opened.every()
    if loaded is None:
        eye = eye_of_backbone(backbone or DEMO, every.paths, config)
    else:
        eye = eye_of(loaded)
    seen = eye.look(every.paths, config)
    images = every.rows(seen.rows.tolist())
    contents = content_hashes(images.paths)
    found = None if place is None else by_folds(Path(place), opened, images, contents)
    if found is None:
        of = eye.name
        if place is not None:
            of = str(place)
            if kind == "single":
                of += f", which has no {OUT_OF_FOLD_FILE} (arcvit train --folds leaves it)"
        found = by_probe(seen.features, opened, images, contents, seed=seed, of=of)
    judged = found.judged
    if not judged.any():
        raise UserError(f"no label of {config.path} can be judged: {found.why_not}.")
    photos, doubts = _photos(opened, images), doubts_of(found, images)
    order = np.argsort(-doubts.score, kind="stable")
    doubtful = order[(doubts.score[order] > _DOUBTFUL) & judged[order]].tolist()
    splits = [photo.split for photo in photos]
    number_of = {own: number for number, own in enumerate(dict.fromkeys(images.label_sets))}
    sets = np.array([number_of[own] for own in images.label_sets])
    return Suspects(
        task=opened.name,
        images=int(judged.sum()),
        kind=kind,
        wrong=doubts.wrong,
        suspects=tuple(
            Suspect(
                **vars(photos[row]),
                suggested=opened.label_text(doubts.suggested[row]),
                score=float(doubts.score[row]),
            )
            for row in doubtful
        ),
        twins=tuple(
            Twins(one=photos[one], other=photos[other], similarity=similarity, is_copy=is_copy)
            for one, other, similarity, is_copy in alike(seen.features, contents, sets, splits)
        ),
        unjudged=tuple(photos[row] for row in np.flatnonzero(~judged).tolist()),
        why_not=found.why_not,
        skipped=seen.skipped,
        judge=found.judge,
        joint=tuple(name for name in opened.classes if JOINT in name),
        decoding=eye.prep.decoding,
    )


def _open(config: DataConfig, kind: Kind, *, kind_is_known: bool) -> ImageTask:
    """The images to judge, of all splits, if there is something to judge them by."""
    opening = replace(
        config.opening(kind),
        to_measure=True,
        kind_is_known=kind_is_known,
        val_fraction=0,
        test_fraction=0,
    )
    task = open_task(config.path, opening, tolerant=config.check == "warn")
    if kind == "single" and len(task.every().seen) < 2:
        raise UserError(
            f"{config.path} has images of one class: expected two, as no other could be right."
        )
    return task


def _photos(task: ImageTask, images: Split) -> Sequence[Photo]:
    """Each image with the names of its class and split; of several splits the first."""
    split_of: dict[Path, str] = {}
    for name, split in task.splits.items():
        for path in split.paths:
            split_of.setdefault(path, name)
    return [
        Photo(file=path, path=task.inside(path), label=task.label_text(own), split=split_of[path])
        for path, own in images.with_sets()
    ]

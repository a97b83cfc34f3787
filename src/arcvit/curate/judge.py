"""Who judges labels: the folds of a run where it has some, else a linear probe on features.

N images, K classes, d width of the features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arcvit.core.predictions import (
    OUT_OF_FOLD,
    OUT_OF_FOLD_FILE,
    PREDICTIONS_FILE,
    Predicted,
    read_predictions,
)
from arcvit.core.shown import csv_cell
from arcvit.curate.confident import (
    suspicion,
    suspicion_of_sets,
    wrong_label_sets,
    wrong_labels,
)
from arcvit.curate.probe import folds_of, learnable, out_of_fold
from arcvit.data.task import ImageTask, Split

_UNSEEN = (OUT_OF_FOLD, "test")
"""What a run of folds says of images that it hadn't learned from."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What is said of each image by who hasn't learned from it.

    Attributes:
        p: probabilities, (N, K).
        judged: whether something can be said of it, (N,).
        why_not: why nothing is said of the others.
        judge: who says it.
    """

    p: np.ndarray
    judged: np.ndarray
    why_not: str
    judge: str


@dataclass(frozen=True, kw_only=True)
class Doubts:
    """What a judgement comes to.

    Attributes:
        score: how suspicious the labels of an image are, from 0 to 1, (N,).
        suggested: for each image the labels that it rather has.
        wrong: about how many of the images that are judged have wrong labels.
    """

    score: np.ndarray
    suggested: tuple[tuple[int, ...], ...]
    wrong: int


def doubts_of(found: Judgement, images: Split) -> Doubts:
    """How suspicious the labels of each image are, by what is said of it.

    Args:
        found: what is said.
        images: with their labels.
    """
    labels, judged = labels_of(images, found.p.shape[1]), found.judged
    if images.kind == "single":
        score, other = suspicion(found.p, labels)
        suggested: list[tuple[int, ...]] = [(label,) for label in other.tolist()]
        wrong = wrong_labels(found.p[judged], labels[judged])
    else:
        score, changed = suspicion_of_sets(found.p, labels)
        pairs = zip(images.label_sets, changed.tolist(), strict=True)
        suggested = [tuple(sorted(set(own) ^ {label})) for own, label in pairs]
        wrong = wrong_label_sets(found.p[judged], labels[judged])
    return Doubts(score=score, suggested=tuple(suggested), wrong=wrong)


def by_probe(
    features: np.ndarray,
    task: ImageTask,
    images: Split,
    contents: Sequence[str],
    *,
    seed: int,
    of: str,
) -> Judgement:
    """By a linear probe that learns from the other folds.

    Args:
        features: (N, d).
        task: classes and groups.
        images: with their labels.
        contents: a hash of each file.
        seed: decides which images come into which fold.
        of: whose features they are.
    """
    labels = labels_of(images, len(task.classes))
    several = images.kind == "multilabel"
    fold_of = folds_of(task, images, dict(zip(images.paths, contents, strict=True)), seed)
    return Judgement(
        p=out_of_fold(features, labels, fold_of, len(task.classes)),
        judged=learnable(labels, fold_of),
        why_not="a label of theirs is on no other image to learn from"
        if several
        else "there is no other image of their class to learn from",
        judge=f"a linear probe on the features of {of}",
    )


def labels_of(images: Split, k: int) -> np.ndarray:
    """The index of each image's class, (N,), or with several whether it has each label, (N, K)."""
    if images.kind == "single":
        return np.array(images.labels)
    has = np.zeros((len(images), k), bool)
    for row, own in enumerate(images.label_sets):
        has[row, list(own)] = True
    return has


def by_folds(
    run: Path, task: ImageTask, images: Split, contents: Sequence[str]
) -> Judgement | None:
    """By the models of a run's folds, and by the whole run for test images; None without folds.

    A run keeps the probabilities of an image's most probable label and, of what folds say, of its
    given label; what is left is spread evenly over the other classes.

    Args:
        run: its folder.
        task: class names.
        images: with their labels.
        contents: a hash of each file.

    Raises:
        UserError: what the run says is damaged.
    """
    if not (run / OUT_OF_FOLD_FILE).is_file():
        return None
    said: dict[str, Predicted] = {}
    for one in read_predictions(run):
        if one.split in _UNSEEN:
            said.setdefault(one.hash, one)
    class_of = {csv_cell(name): label for label, name in enumerate(task.classes)}
    p = np.zeros((len(images), len(task.classes)))
    judged = np.zeros(len(images), bool)
    has_test = False
    for row, content in enumerate(contents):
        found = said.get(content)
        if found is None or found.predicted not in class_of:
            continue
        known = {class_of[found.predicted]: found.probability}
        if found.given is not None and found.label in class_of:
            known.setdefault(class_of[found.label], found.given)
        p[row] = max(0.0, 1 - sum(known.values())) / max(len(task.classes) - len(known), 1)
        p[row, list(known)] = list(known.values())
        judged[row] = True
        has_test = has_test or found.split == "test"
    return Judgement(
        p=p,
        judged=judged,
        why_not=f"the folds of {run} don't know them",
        judge=f"the folds of {run}, as {OUT_OF_FOLD_FILE} in it says"
        f"{f' ({PREDICTIONS_FILE} of test images)' if has_test else ''}",
    )

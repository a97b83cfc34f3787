"""Images to measure a trained model on, which may be others than its own: labels go by name."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from arcvit.core.errors import UserError, nearest
from arcvit.core.task import Kind
from arcvit.data.config import DataConfig
from arcvit.data.findings import examples
from arcvit.data.readers.layouts import open_task
from arcvit.data.task import ImageTask, Split, class_name

ALL = "all"
"""In place of a split: every image."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is measured.

    Attributes:
        task: what lies there, with its own classes.
        split: the images, with the labels of the model.
        left_out: number of images of classes that the model doesn't know.
    """

    task: ImageTask
    split: Split
    left_out: int


def open_measured(
    data: DataConfig, labels: Sequence[str], split: str, *, kind: Kind, ignore_unknown: bool
) -> Measured:
    """Open images to measure on: splits needn't be there, nor all of the model's classes.

    Args:
        data: the images.
        labels: names of the model's classes.
        split: a split, held out as in training where it has none of its own, or ``all``.
        kind: whether an image has one label or any number of them.
        ignore_unknown: leave out images of classes that the model doesn't know.

    Raises:
        UserError: they can't be opened, or there are classes that the model doesn't know.
    """
    opening = replace(data.opening(kind), to_measure=True, kind_is_known=True)
    if split == ALL:
        opening = replace(opening, val_fraction=0, test_fraction=0)
    several = kind == "multilabel"
    task = open_task(data.path, opening, tolerant=data.check == "warn")
    chosen = task.every() if split == ALL else task.split(split)
    label_of = {class_name(name): label for label, name in enumerate(labels)}
    known = [name in label_of for name in task.classes]
    unknown = Counter(
        task.classes[label] for own in chosen.label_sets for label in own if not known[label]
    )
    if unknown and not (ignore_unknown and any(known)):
        named = examples([f"{name!r} ({n:,} images)" for name, n in sorted(unknown.items())])
        hint = nearest(min(unknown), label_of)
        raise UserError(
            f"{task.name!r} has {len(unknown)} class(es) that the model doesn't know, {named}:"
            f" expected some of {examples(labels, most=20)}; --ignore_unknown leaves out"
            f" {'each image that has another label' if several else 'the images of others'}.{hint}"
        )
    pairs = [
        (path, [label_of[task.classes[label]] for label in own])
        for path, own in chosen.with_sets()
        if all(known[label] for label in own)
    ]
    left_out = len(chosen) - len(pairs)
    return Measured(task=task, split=Split.of_sets(pairs, kind=kind), left_out=left_out)

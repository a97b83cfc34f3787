"""Folds for cross-validation: equal shares of every class, groups as a whole."""

from collections import Counter
from dataclasses import replace

from arcvit.core.errors import UserError
from arcvit.data.readers.holdout import members_by_rank
from arcvit.data.readers.stratify import stratify
from arcvit.data.task import ImageTask, Split


def check_folds(task: ImageTask, folds: int) -> None:
    """Refuse more folds than a class has images, or groups of them: a fold would miss it.

    Args:
        task: what is to be divided.
        folds: how many there are to be.

    Raises:
        UserError: names the class.
    """
    held: dict[int, set[object]] = {}
    for path, labels in task.trainval().with_sets():
        for label in labels:
            held.setdefault(label, set()).add(task.groups.get(path, path))
    few = {label: len(those) for label, those in held.items() if len(those) < folds}
    if not few:
        return
    fewest = min(few.values())
    what = "group" if task.groups else "image"
    plural = "" if fewest == 1 else "s"
    name = task.classes[min(label for label, n in few.items() if n == fewest)]
    besides = " besides those of the test split" if task.has("test") else ""
    others = f" ({len(few)} classes have fewer than {folds})" if len(few) > 1 else ""
    remedy = f"give --folds {fewest}, or more of it" if fewest > 1 else "give more of it"
    raise UserError(
        f"class {name!r} has {fewest} {what}{plural}{besides}, too few for --folds {folds}{others}:"
        f" {remedy}."
    )


def fold(task: ImageTask, number: int, *, folds: int, seed: int) -> ImageTask:
    """The task with one fold of its training and validation images as the validation split.

    Images and groups are dealt out in the order that ``hold_out`` draws in, each to the fold that
    has the fewest of its classes; those of several labels by iterative stratification. So no group
    is in two folds, and another seed deals otherwise.

    Args:
        task: what to divide.
        number: which fold to validate on, from 0.
        folds: how many there are.
        seed: decides which image comes into which fold.

    Raises:
        UserError: there is no such fold, or there are fewer images or groups than folds.
    """
    if not 0 <= number < folds:
        raise UserError(f"data.fold is {number}: expected a number from 0 to {folds - 1}.")
    pool = task.trainval()
    members = members_by_rank(pool, seed=seed, root=task.root, groups=task.groups)
    if len(members) < folds:
        what = "groups" if task.groups else "images"
        raise UserError(
            f"Task '{task.name}' has {len(members)} {what} to divide into data.folds {folds}:"
            " expected at least one for each."
        )
    if pool.kind == "multilabel":
        units = [[pool.label_sets[row] for row in rows] for rows in members]
        parts = stratify(units, [1 / folds] * folds)
    else:
        parts = _dealt(pool, members, folds)
    held = {
        row for part, rows in zip(parts, members, strict=True) if part == number for row in rows
    }
    splits = {
        "train": pool.rows(row for row in range(len(pool)) if row not in held),
        "val": pool.rows(sorted(held)),
    }
    if task.has("test"):
        splits["test"] = task.split("test")
    return replace(task, splits=splits)


def _dealt(pool: Split, members: list[list[int]], folds: int) -> list[int]:
    """The fold of each group."""
    fold_of: list[int] = []
    sizes = [0] * folds
    of_class = [Counter[int]() for _ in range(folds)]
    for rows in members:
        own = Counter(pool.labels[row] for row in rows)

        def load(place: int, own: Counter[int] = own) -> tuple[int, int]:
            return sum(of_class[place][label] * n for label, n in own.items()), sizes[place]

        least = min(range(folds), key=load)
        fold_of.append(least)
        sizes[least] += len(rows)
        of_class[least] += own
    return fold_of

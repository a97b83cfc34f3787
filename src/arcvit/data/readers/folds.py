"""Folds for cross-validation: equal shares of every class, groups and copies as a whole."""

from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from arcvit.core.content import content_hash
from arcvit.core.errors import UserError
from arcvit.data.readers.holdout import members_by_rank
from arcvit.data.readers.stratify import stratify
from arcvit.data.task import ImageTask, Split

_Stamp = tuple[int, int, int, int]
"""Size, times of change of the content and of the entry, number of the file: of a file's state."""


def check_folds(task: ImageTask, folds: int) -> None:
    """Refuse more folds than a class has images, or groups of them: a fold would miss it.

    Args:
        task: what is to be divided.
        folds: how many there are to be.

    Raises:
        UserError: names the class.
    """
    held: dict[int, set[object]] = {}
    files: Counter[int] = Counter()
    together = whole_groups(task)
    for path, labels in task.trainval().with_sets():
        files.update(labels)
        for label in labels:
            held.setdefault(label, set()).add(together.get(path, path))
    few = {label: len(those) for label, those in held.items() if len(those) < folds}
    if not few:
        return
    fewest = min(few.values())
    what = "group" if task.groups else "image"
    plural = "" if fewest == 1 else "s"
    first = min(label for label, n in few.items() if n == fewest)
    name = task.classes[first]
    copied = " but for copies" if not task.groups and files[first] > fewest else ""
    besides = " besides those of the test split" if task.has("test") else ""
    others = f" ({len(few)} classes have fewer than {folds})" if len(few) > 1 else ""
    remedy = f"give --folds {fewest}, or more of it" if fewest > 1 else "give more of it"
    raise UserError(
        f"class {name!r} has {fewest} {what}{plural}{copied}{besides}, too few for --folds"
        f" {folds}{others}: {remedy}."
    )


def whole_groups(task: ImageTask) -> dict[Path, str]:
    """What each image goes into a fold with: the others of its group, and copies of the file.

    Who has learned a photo knows its copy: people copy photos to make a rare class as frequent as
    others.
    """
    paths = task.trainval().paths
    group_of = {path: task.groups[path] for path in paths if path in task.groups}
    members: defaultdict[str, list[Path]] = defaultdict(list)
    for path, group in group_of.items():
        members[group].append(path)
    for copies in _copies(paths):
        joined = {group_of[path] for path in copies if path in group_of}
        name = min(joined, default=f"copies of {task.inside(copies[0])}")
        moved = [path for path in copies if path not in group_of]
        moved += [path for other in joined - {name} for path in members.pop(other)]
        members[name] += moved
        group_of |= dict.fromkeys(moved, name)
    return group_of


def _copies(paths: tuple[Path, ...]) -> list[list[Path]]:
    """Files of the same content, each list in order; only those of one size need be read."""
    of_size: defaultdict[int, list[tuple[Path, _Stamp]]] = defaultdict(list)
    for path in sorted(set(paths)):
        with suppress(OSError):
            stat = path.stat()
            # Unpacking an archive restores mtimes, so that new files may have those of old ones.
            stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
            of_size[stat.st_size].append((path, stamp))
    of_content: defaultdict[str, list[Path]] = defaultdict(list)
    for size, those in of_size.items():
        for path, stamp in those if size and len(those) > 1 else ():
            of_content[_content(path, stamp)].append(path)
    return [copies for copies in of_content.values() if len(copies) > 1]


@lru_cache(maxsize=2**20)
def _content(path: Path, stamp: _Stamp) -> str:
    """What is in a file: each fold and each check asks, and it is read once until it changes."""
    return content_hash(path)


def fold(task: ImageTask, number: int, *, folds: int, seed: int) -> ImageTask:
    """The task with one fold of its training and validation images as the validation split.

    Images and groups are dealt out in the order that ``hold_out`` draws in, each to the fold that
    has the fewest of its classes; those of several labels by iterative stratification. So no group
    is in two folds, nor are copies of a file, and another seed deals otherwise.

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
    members = members_by_rank(pool, seed=seed, root=task.root, groups=whole_groups(task))
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

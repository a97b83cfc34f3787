"""Few-shot learning: so many training images of every class, drawn by a seed."""

from collections import Counter
from dataclasses import replace

from arcvit.core.errors import UserError
from arcvit.data.readers.holdout import rank
from arcvit.data.task import ImageTask


def draw_shots(task: ImageTask, shots: int, *, seed: int) -> ImageTask:
    """The task with at most so many training images of every class.

    Those of fewer shots are among those of more. Validation and test images stay; what is fitted
    when validation images may be, too, is the same draw.

    Args:
        task: what to draw from.
        shots: images of a class.
        seed: another seed draws others.

    Raises:
        UserError: images have several labels.
    """
    train = task.split("train")
    if train.kind == "multilabel":
        raise UserError(
            f"data.shots counts images of one class, and those of {task.name!r} have any number of"
            " labels: leave it out."
        )
    taken: Counter[int] = Counter()
    drawn: set[int] = set()
    labels = train.labels
    for row in sorted(range(len(train)), key=lambda row: rank(train.paths[row], seed, task.root)):
        if taken[labels[row]] < shots:
            taken[labels[row]] += 1
            drawn.add(row)
    fitted = train.rows(sorted(drawn))
    return replace(task, splits={**task.splits, "train": fitted, "trainval": fitted})


def told_shots(task: ImageTask, shots: int) -> str | None:
    """What to say of a drawn task whose classes haven't all so many images; None: they have."""
    images = Counter(task.trainval().labels)
    few = [f"{task.classes[c]!r} ({n})" for c, n in sorted(images.items()) if n < shots]
    if not few:
        return None
    named = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
    return f"--data.shots {shots}: {len(few)} of {len(task.classes)} classes have fewer: {named}"

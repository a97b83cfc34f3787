"""How many images a task has, without a look at them. No torch."""

from dataclasses import dataclass
from pathlib import Path

from arcvit.bench.suite import SuiteTask
from arcvit.data.readers.layouts import open_task
from arcvit.recipe.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of a task: classes, and images of each split.

    Attributes:
        classes: number of classes.
        train: images that trials of a search are trained on.
        trainval: images that final runs are trained on.
        test: images of the test split.
    """

    classes: int
    train: int
    trainval: int
    test: int


def sizes_of(task: SuiteTask, root: Path | None, recipe: Recipe) -> Sizes | None:
    """The sizes of a task; None where nothing lies there and the catalogue doesn't know it.

    Args:
        task: the task.
        root: folder of the tasks.
        recipe: one of its runs, which says how its images are opened.

    Raises:
        UserError: it can't be opened.
    """
    if task.record is not None:
        known = task.record
        return Sizes(
            classes=known.classes, train=known.train, trainval=known.trainval, test=known.test
        )
    path = Path(task.path) if root is None else root / task.path
    if not path.exists():
        return None
    opened = open_task(path, recipe.data.opening(task.kind))
    return Sizes(
        classes=len(opened.classes),
        train=len(opened.split("train")),
        trainval=len(opened.trainval()),
        test=len(opened.split("test")) if opened.has("test") else 0,
    )

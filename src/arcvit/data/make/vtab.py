"""Build a task of VTAB-1k from its source: draw 1,000 training images, keep the test split whole.

The lists that people share were drawn from tensorflow_datasets' copy of each source in that copy's
order, which other copies don't have. From those the test images are still VTAB's, the training
images another draw of the same size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from arcvit.core.errors import UserError
from arcvit.data.catalogue import BenchmarkTask, find_task
from arcvit.data.make.tfds import find_copy
from arcvit.data.make.vtab_from_tfds import write_from_tfds
from arcvit.data.make.vtab_sources import SOURCES
from arcvit.data.make.vtab_write import write_vtab
from arcvit.data.pixels.rgb import read_rgb
from arcvit.data.readers.holdout import rank
from arcvit.data.readers.hub import is_hub_name
from arcvit.data.readers.layouts import open_task
from arcvit.data.task import Split

OTHER_COPIES = (
    "cifar",
    "dtd",
    "oxford_flowers102",
    "oxford_iiit_pet",
    "svhn",
    "patch_camelyon",
    "diabetic_retinopathy",
)
"""Tasks whose test images are the source's own test split and whose labels are its classes."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What was written."""

    counts: dict[str, int]
    """The number of images of each split."""
    own_draw: bool
    """Whether the training images are drawn as VTAB's are."""


def prepare_vtab(name: str, source: str, out: Path, *, seed: int) -> Prepared:
    """Write a task in the VTAB-1k layout, in PNG: not a pixel of the source changes.

    From a data set that tensorflow_datasets has prepared: all 19 tasks, drawn as VTAB does. From
    other copies: ``OTHER_COPIES``; train800 is drawn from the source's training split and val200
    from its validation split, or from a part of the training split that is held out where there is
    none.

    Args:
        name: the task, by name or alias.
        source: a folder of tensorflow_datasets, or what ``open_task`` reads: a folder in any
            layout, or ``hf:NAME``.
        out: the root; the task's folder in it must not exist yet.
        seed: decides which images of other copies are drawn.

    Raises:
        UserError: a task that can't be prepared, a source that isn't that task's, or the task's
            folder is there already.
    """
    task = find_task(name, suite="vtab")
    if not is_hub_name(source):
        of_task = SOURCES[task.name]
        copy = find_copy(Path(source).expanduser(), of_task.dataset, of_task.config)
        if copy is not None:
            return Prepared(counts=write_from_tfds(task, of_task, copy, out), own_draw=True)
    if task.name not in OTHER_COPIES:
        raise UserError(
            f"{task.name} can't be prepared from {source}, as its splits or labels are not its"
            f" source's: expected {SOURCES[task.name].dataset} as tensorflow_datasets prepares it;"
            f" from other copies arcvit prepares {', '.join(OTHER_COPIES)}."
        )
    return Prepared(counts=_from_other_copy(task, source, out, seed), own_draw=False)


def _from_other_copy(task: BenchmarkTask, source: str, out: Path, seed: int) -> dict[str, int]:
    found = open_task(source)
    counts = {split: len(images) for split, images in found.splits.items()}
    if len(found.classes) != task.classes or counts.get("test") != task.test:
        images = counts.get("test", 0)
        raise UserError(
            f"{source} isn't the source of {task.name}: expected {task.classes} classes and"
            f" {task.test:,} test images, it has {len(found.classes)} and {images:,}."
        )
    chosen = {
        "train": _draw(found.split("train"), task.train, seed, found.root, source),
        "val": _draw(found.split("val"), task.val, seed, found.root, source),
        "test": found.split("test"),
    }
    return write_vtab(
        out / task.name,
        {split: _images(images) for split, images in chosen.items()},
        classes=found.classes,
        readme=_README.format(task=task.name, seed=seed),
    )


def _draw(split: Split, count: int, seed: int, root: Path, source: str) -> Split:
    """``count`` images drawn without regard to classes, by a hash of the seed and the path."""
    if len(split) < count:
        raise UserError(
            f"{source} has {len(split)} images to draw from: expected at least {count}."
        )

    rows = sorted(range(len(split)), key=lambda row: rank(split.paths[row], seed, root))
    return split.rows(rows[:count])


def _images(split: Split) -> Iterator[tuple[Image.Image, int]]:
    for path, label in split:
        try:
            yield read_rgb(path), label
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f"{path} can't be read: {error}. Get the source again.") from error


_README = """\
# {task}

Built by `arcvit data prepare vtab {task} --seed {seed}` in the VTAB-1k layout, without loss.

The test images are those of VTAB. **The 800 + 200 training images are not VTAB's own draw**, which
follows the order of TensorFlow's copy of the source: accuracies are comparable up to that draw.
"""

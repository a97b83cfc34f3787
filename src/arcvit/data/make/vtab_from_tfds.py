"""Build a task of VTAB-1k from what tensorflow_datasets has prepared: VTAB's own draw.

VTAB's training images are the first in tensorflow_datasets' files, so their order decides, and that
may change with the version of a data set.
"""

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from arcvit.core.errors import UserError
from arcvit.data.catalogue import BenchmarkTask
from arcvit.data.make.tfds import Part, TfdsCopy
from arcvit.data.make.vtab_sources import VtabSource
from arcvit.data.make.vtab_write import write_vtab
from arcvit.data.pixels.rgb import read_rgb


def write_from_tfds(
    task: BenchmarkTask, source: VtabSource, copy: TfdsCopy, out: Path
) -> dict[str, int]:
    """Write a task in the VTAB-1k layout, in PNG.

    Args:
        task: the task.
        source: which parts of the data set its splits are, and what its labels are.
        copy: the data set.
        out: the root; the task's folder in it must not exist yet.

    Returns:
        The number of images of each split.

    Raises:
        UserError: the copy isn't that data set, or it is broken; the task's folder is there.
    """
    tests = copy.count(source.parts["test"])
    names = copy.class_names(source.feature) if source.rule is None else None
    classes = names or tuple(map(str, range(task.classes)))
    if tests != task.test or len(classes) != task.classes:
        raise UserError(
            f"{copy.root} isn't the source of {task.name}: expected {task.classes} classes and"
            f" {task.test:,} test images, it has {len(classes)} and {tests:,}."
        )
    for split, part in source.parts.items():
        if copy.count(part) < task.counts[split]:
            raise UserError(
                f"{copy.root} has {copy.count(part):,} images to take {split} from: expected at"
                f" least {task.counts[split]:,}; prepare the data set again."
            )
    return write_vtab(
        out / task.name,
        {split: _images(task, source, copy, split, part) for split, part in source.parts.items()},
        classes=classes,
        readme=_README.format(task=task.name, dataset=copy.name, version=copy.version),
    )


def _images(
    task: BenchmarkTask, source: VtabSource, copy: TfdsCopy, split: str, part: Part
) -> Iterator[tuple[Image.Image, int]]:
    """The images of a split with their labels."""
    for index, record in enumerate(copy.records(part, task.counts[split])):
        where = f"{copy.root}, image {index} of {split},"
        try:
            content, label = record["image"][0], source.label(record)
        except LookupError as error:
            features = ", ".join(sorted(name for name, values in record.items() if values))
            raise UserError(
                f"{where} has {features or 'nothing'}: expected image and {source.feature}."
            ) from error
        except ValueError as error:
            raise UserError(f"{where} is {error}.") from error
        if not 0 <= label < task.classes:
            raise UserError(f"{where} has the label {label}: expected 0 to {task.classes - 1}.")
        try:
            image = read_rgb(io.BytesIO(content))
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(
                f"{where} can't be read: {error}; prepare the data set again."
            ) from error
        yield image.point(lambda pixel: pixel * 255) if source.binary else image, label


_README = """\
# {task}

Built by `arcvit data prepare vtab {task}` in the VTAB-1k layout, without loss, from
{dataset} {version} as tensorflow_datasets has prepared it.

Splits and labels follow google-research/task_adaptation. The 800 + 200 training images are the
first ones in this copy's files, as VTAB's own are; another version of {dataset} may hold another
order.
"""

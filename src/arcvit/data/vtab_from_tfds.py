"""Build a task of VTAB-1k from what tensorflow_datasets has prepared: VTAB's own draw.

VTAB's training images are the first that tensorflow_datasets gives, so its order decides, and that
may change with the version of a data set.
"""

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from PIL import Image

from arcvit.core.errors import UserError
from arcvit.data.catalogue import BenchmarkTask
from arcvit.data.rgb import read_rgb
from arcvit.data.tfds import Part, TfdsCopy
from arcvit.data.vtab_sources import VtabSource
from arcvit.data.vtab_write import write_vtab


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
    tests = copy.count(source.parts.test)
    names = copy.class_names(source.feature) if source.rule is None else None
    classes = names or tuple(map(str, range(task.classes)))
    if tests != task.test or len(classes) != task.classes:
        raise UserError(
            f"{copy.root} isn't the source of {task.name}: expected {task.classes} classes and"
            f" {task.test:,} test images, it has {len(classes)} and {tests:,}."
        )
    parts = (
        ("train", source.parts.train, task.train),
        ("val", source.parts.val, task.val),
        ("test", source.parts.test, task.test),
    )
    return write_vtab(
        out / task.name,
        {split: _images(task, source, copy, part, count) for split, part, count in parts},
        classes=classes,
        readme=_README.format(task=task.name, dataset=copy.name, version=copy.version),
    )


def _images(
    task: BenchmarkTask, source: VtabSource, copy: TfdsCopy, part: Part, count: int
) -> Iterator[tuple[Image.Image, int]]:
    """The first ``count`` images of a part with their labels."""
    for index, record in enumerate(islice(copy.records(part), count)):
        try:
            label = source.label(record)
            image = read_rgb(io.BytesIO(record["image"][0]))
        except LookupError as error:
            raise UserError(
                f"{copy.root} has records of {', '.join(sorted(record))}: expected image and"
                f" {source.feature}."
            ) from error
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(
                f"{copy.root} has a broken record, number {index} of {part.split}: {error}."
            ) from error
        if not 0 <= label < task.classes:
            raise UserError(
                f"{copy.root} has the label {label} in record {index} of {part.split}: expected 0"
                f" to {task.classes - 1}."
            )
        yield image.point(lambda pixel: pixel * 255) if source.binary else image, label


_README = """\
# {task}

Built by `arcvit data prepare vtab {task}` in the VTAB-1k layout, without loss, from
{dataset} {version} as tensorflow_datasets has prepared it.

Splits and labels follow google-research/task_adaptation. The 800 + 200 training images are the
first ones in the order in which tensorflow_datasets reads this copy, as VTAB's own are; another
version of {dataset} may hold another order.
"""

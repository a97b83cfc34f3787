"""The table of layouts, and opening a task from wherever it lies."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from arcvit.core.errors import UserError, nearest
from arcvit.data.findings import examples
from arcvit.data.readers import cub, dogs, fgvc, folders, hub, shards, table, vtab
from arcvit.data.readers.folds import fold
from arcvit.data.readers.reader import Opening, Reader, Reading
from arcvit.data.readers.shots import draw_shots
from arcvit.data.task import ImageTask

LAYOUTS: Mapping[str, Reader] = MappingProxyType(
    {
        "vtab": vtab,
        "fgvc": fgvc,
        "cub": cub,
        "dogs": dogs,
        "datasets": hub,
        "webdataset": shards,
        "table": table,
        "folders": folders,
    }
)
"""The reader of each layout; the first that recognises a path reads it.

A folder that none recognises is read as class folders without splits, unless tasks lie in it.
"""


MULTILABEL_LAYOUTS = ("table", "datasets", "webdataset")
"""Layouts that can say several labels of an image."""


def layout_of(path: Path) -> str | None:
    """The layout of a file, or of a folder with splits of its own; None where none fits."""
    return next((name for name, reader in LAYOUTS.items() if reader.recognises(path)), None)


MATTERS_OF_OPINION = (
    *("unread-images", "twin-classes", "missing-labels", "single-images", "overlap"),
    "shared-groups",
)
"""Findings that spoil a task which is whole all the same: somebody may know better."""


def open_task(
    path: str | Path, opening: Opening | None = None, *, tolerant: bool = False
) -> ImageTask:
    """Read the task at a path, in whichever layout it is.

    Args:
        path: the task's folder or file, or ``hf:NAME``.
        opening: what is held out, and the columns of a table.
        tolerant: let pass what somebody may know better.

    Raises:
        UserError: nothing there, an unknown layout, or the first finding that spoils the task.
    """
    reading = read_task(Path(path).expanduser(), opening or Opening())
    for finding in reading.findings:
        passes = tolerant and finding.kind in MATTERS_OF_OPINION
        if finding.severity == "spoils" and not passes:
            raise UserError(finding.text)
    task = reading.task
    if opening is None:
        return task
    if opening.shots is not None and not opening.to_measure:
        task = draw_shots(task, opening.shots, seed=opening.shots_seed)
    if opening.folds is None:
        return task
    return fold(task, opening.fold, folds=opening.folds, seed=opening.seed)


def read_task(path: Path, opening: Opening) -> Reading:
    """Read the task at a path and tell all that is wrong with it.

    Raises:
        UserError: nothing there, an unknown layout, or a task that can't be read at all.
    """
    require_path(path)
    layout = layout_of(path)
    if layout is None and not path.is_dir():
        known = ", ".join((*table.DELIMITER_OF_SUFFIX, *hub.BUILDER_OF_SUFFIX))
        raise UserError(
            f"{path} is in an unknown layout: expected a folder, or a table that ends in one of"
            f" {known}."
        )
    if layout is None:
        _refuse_outer_folder(path)
    if opening.label_columns and layout != "table":
        raise UserError(
            f"{path} has no columns of 0 and 1 that data.label_columns could name: expected a"
            " table, leave --data.label_columns out."
        )
    if opening.kind == "multilabel" and layout not in MULTILABEL_LAYOUTS:
        raise UserError(
            f"{path} gives each image one label, its layout is {layout or 'folders'}: expected a"
            " table of images with their labels"
            + opening.or_task(
                " for --task multilabel, write one or leave --task out.",
                ", as the model gives an image any number of them.",
            )
        )
    return LAYOUTS[layout or "folders"].read(path, opening)


def require_path(path: Path) -> None:
    """Refuse a path where nothing is.

    Raises:
        UserError: names what lies beside it and is called alike.
    """
    if path.exists() or hub.is_hub_name(path):
        return
    beside = [child.name for child in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(
        f"{path} isn't there: expected a folder or a table of images."
        f"{nearest(path.name, sorted(beside))}"
    )


def _refuse_outer_folder(folder: Path) -> None:
    """Refuse a folder of tasks, or of splits inside class folders.

    Read as class folders they would give a task that is easy and wrong. Inside a folder that has
    splits itself, a class may well be called "train".
    """
    within = folders.subfolders(folder)
    inside = [child.name for child in within if layout_of(child)]
    if inside:
        raise UserError(
            f"{folder} is in an unknown layout, as folders inside it have splits of their own:"
            f" expected <split>/<class>/<image>, move the splits outside or open one of"
            f" {examples(inside, most=20)}."
        )
    tables = sorted(file.name for file in folder.iterdir() if table.recognises(file))
    if tables and len(within) < 2:
        raise UserError(
            f"{folder} has no class folders but table(s): open one of {examples(tables, most=20)}."
        )

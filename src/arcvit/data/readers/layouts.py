"""Open a task from wherever it lies: recognise the layout and hand over to its reader."""

from pathlib import Path

from arcvit.core.errors import UserError, nearest
from arcvit.data.readers.checks import list_some
from arcvit.data.readers.cub import is_cub, read_cub
from arcvit.data.readers.dogs import is_dogs, read_dogs
from arcvit.data.readers.fgvc import is_fgvc, read_fgvc
from arcvit.data.readers.folders import read_folders, split_folders, subfolders
from arcvit.data.readers.holdout import check_fraction
from arcvit.data.readers.hub import BUILDER_OF_SUFFIX, PREFIX, is_hub_folder, read_hub
from arcvit.data.readers.shards import is_shards, read_shards
from arcvit.data.readers.table import DEFAULT_SPLIT_COLUMN, DELIMITER_OF_SUFFIX, read_table
from arcvit.data.readers.vtab import is_vtab, read_vtab
from arcvit.data.task import ImageTask


def open_task(
    path: str | Path,
    *,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    seed: int = 0,
    path_column: str = "path",
    label_column: str = "label",
    split_column: str = DEFAULT_SPLIT_COLUMN,
) -> ImageTask:
    """Read the task at a path, in whichever layout it is.

    A ``.csv`` or ``.tsv`` file is a table, a ``.parquet`` or ``.arrow`` file one of ``datasets``. A
    folder with ``train800.txt`` is in the VTAB-1k layout, one with ``train.json`` in that of FGVC,
    one with ``train_test_split.txt`` in that of CUB and NABirds, one with ``train_list.mat`` in
    that of Stanford Dogs, one that ``datasets`` wrote or that holds shards in theirs; any other is
    taken for class folders.

    Args:
        path: the task's folder or file, or ``hf:NAME``.
        val_fraction: share of every class to hold out where there is no validation split, [0, 1).
        test_fraction: share of every class to hold out where there are no splits at all, [0, 1).
        seed: decides which images are held out.
        path_column: of a table: column of image paths.
        label_column: of a table: column of labels.
        split_column: of a table: column of splits.

    Raises:
        UserError: nothing there, an unknown layout, or what the reader of the layout refuses.
    """
    check_fraction("val_fraction", val_fraction)
    check_fraction("test_fraction", test_fraction)
    fractions = {"val_fraction": val_fraction, "test_fraction": test_fraction}
    if str(path).startswith(PREFIX):
        return read_hub(str(path), **fractions, seed=seed)
    path = Path(path).expanduser()
    if not path.exists():
        beside = [child.name for child in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(
            f"{path} isn't there: expected a folder or a table of images."
            f"{nearest(path.name, sorted(beside))}"
        )
    if path.is_file():
        if path.suffix.lower() in BUILDER_OF_SUFFIX:
            return read_hub(str(path), **fractions, seed=seed)
        if path.suffix.lower() not in DELIMITER_OF_SUFFIX:
            known = ", ".join((*DELIMITER_OF_SUFFIX, *BUILDER_OF_SUFFIX))
            raise UserError(
                f"{path} is in an unknown layout: expected a folder, or a table that ends in one of"
                f" {known}."
            )
        return read_table(
            path,
            **fractions,
            seed=seed,
            path_column=path_column,
            label_column=label_column,
            split_column=split_column,
        )
    if is_vtab(path):
        return read_vtab(path)
    if is_fgvc(path):
        return read_fgvc(path, val_fraction=val_fraction, seed=seed)
    if is_cub(path):
        return read_cub(path, val_fraction=val_fraction, seed=seed)
    if is_dogs(path):
        return read_dogs(path, val_fraction=val_fraction, seed=seed)
    if is_hub_folder(path):
        return read_hub(str(path), **fractions, seed=seed)
    if is_shards(path):
        return read_shards(path, **fractions, seed=seed)
    _refuse_outer_folder(path)
    return read_folders(path, **fractions, seed=seed)


def has_splits(folder: Path) -> bool:
    """Whether a folder is a task with splits of its own, in any layout."""
    of_lists = (is_vtab, is_fgvc, is_cub, is_dogs, is_hub_folder, is_shards)
    return any(is_layout(folder) for is_layout in of_lists) or bool(split_folders(folder))


def _refuse_outer_folder(folder: Path) -> None:
    """Refuse a folder of tasks, or of splits inside class folders.

    Read as class folders they would give a task that is easy and wrong. Inside a folder that has
    splits itself, a class may well be called "train".
    """
    if split_folders(folder):
        return
    inside = [child.name for child in subfolders(folder) if has_splits(child)]
    if inside:
        raise UserError(
            f"{folder} is in an unknown layout, as folders inside it have splits of their own:"
            f" expected <split>/<class>/<image>, move the splits outside or open one of"
            f" {list_some(inside)}."
        )
    if not subfolders(folder):
        tables = [p.name for p in folder.iterdir() if p.suffix.lower() in DELIMITER_OF_SUFFIX]
        if tables:
            raise UserError(
                f"{folder} has no class folders but table(s): open one of"
                f" {list_some(sorted(tables))}."
            )

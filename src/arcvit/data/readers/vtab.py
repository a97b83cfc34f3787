"""The VTAB-1k layout: ``train800.txt``, ``val200.txt``, ``train800val200.txt``, ``test.txt``.

The layout that NOAH's script writes and that SSF, FacT, RepAdapter, ARC and V-PETL Bench read. One
line an image, ``images/train800/000000.jpg 307``.
"""

from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.data.readers.checks import (
    check_apart,
    check_classes,
    check_files_there,
    is_label,
    read_text,
)
from arcvit.data.task import ImageTask, Split

LIST_OF_SPLIT = {
    "train": "train800.txt",
    "val": "val200.txt",
    "trainval": "train800val200.txt",
    "test": "test.txt",
}


def is_vtab(folder: Path) -> bool:
    """Whether a folder has one of the lists that no other layout has."""
    names = (LIST_OF_SPLIT[split] for split in ("train", "val", "trainval"))
    return any((folder / name).is_file() for name in names)


def read_vtab(root: Path, *, num_classes: int | None = None) -> ImageTask:
    """Read a task of VTAB-1k.

    ``trainval`` is its own list with its own copies of the images. A class may be missing from
    train: 800 images drawn at random from 397 classes don't cover all of them.

    Args:
        root: the task's folder.
        num_classes: number of classes; None takes the largest label of all lists + 1. Class names
            are the labels, or the lines of ``classes.txt`` if the folder has one.

    Raises:
        UserError: a list that is missing, a malformed or repeated line, a label out of range,
            images that are not there, an image both in the test and in another split.
    """
    if not (root / LIST_OF_SPLIT["train"]).is_file():
        raise UserError(
            f"{root} has no {LIST_OF_SPLIT['train']}: expected the lists"
            f" {', '.join(LIST_OF_SPLIT.values())} of the VTAB-1k layout."
        )
    splits = {
        split: _read_list(root / name)
        for split, name in LIST_OF_SPLIT.items()
        if (root / name).is_file()
    }
    for split, images in splits.items():
        check_files_there(images.paths, root / LIST_OF_SPLIT[split])
    check_apart(splits, root)

    used = {label for images in splits.values() for label in images.labels}
    if num_classes is None and max(used) >= 2 * len(used):
        raise UserError(
            f"{root} has the label {max(used)} but only {len(used)} different labels: expected"
            " class indices that count from 0."
        )
    classes = class_names(root, max(used) + 1, num_classes)
    check_classes(classes, root)
    return ImageTask(
        name=root.resolve().name, root=root, layout="vtab", classes=classes, splits=splits
    )


def parse_list(path: Path) -> tuple[Split, list[str]]:
    """Read a list line by line.

    Returns:
        The images of the lines that are right, and for each other line a sentence.

    Raises:
        UserError: the file isn't UTF-8 text.
    """
    line_of: dict[str, int] = {}
    labels = []
    complaints = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.rsplit(maxsplit=1)
        if not words:
            continue
        if len(words) != 2 or not is_label(words[1]):
            complaints.append(
                f"{path} line {number} is {line!r}: expected '<image> <label>' with a whole number"
                " as label."
            )
            continue
        name, label = words
        if name in line_of:
            complaints.append(
                f"{path} lists {name} in lines {line_of[name]} and {number}: expected each image"
                " once, remove one."
            )
            continue
        line_of[name] = number
        labels.append(int(label))
    if not labels and not complaints:
        complaints.append(f"{path} is empty: expected a line '<image> <label>' for each image.")
    found = Split(paths=tuple(path.parent / name for name in line_of), labels=tuple(labels))
    return found, complaints


def _read_list(path: Path) -> Split:
    found, complaints = parse_list(path)
    if complaints:
        raise UserError(complaints[0])
    return found


def class_names(root: Path, count: int, num_classes: int | None) -> tuple[str, ...]:
    """The lines of ``classes.txt``, else the labels.

    Args:
        root: the task's folder.
        count: the largest label in the lists + 1.
        num_classes: number of classes, where it is known.

    Raises:
        UserError: a label out of range, or the names are not as many as the classes.
    """
    if num_classes is not None and count > num_classes:
        raise UserError(
            f"{root} has the label {count - 1}: expected labels from 0 to {num_classes - 1}."
        )
    file = root / "classes.txt"
    if not file.is_file():
        return tuple(str(label) for label in range(num_classes or count))
    names = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    wrong = len(names) < count if num_classes is None else len(names) != num_classes
    if wrong or len(frozenset(names)) != len(names):
        raise UserError(
            f"{file} has {len(names)} name(s): expected {num_classes or count} different ones, one"
            " a line in label order."
        )
    return names

"""The layout of CUB-200-2011 and NABirds as they are published.

``images.txt`` (id, path), ``image_class_labels.txt`` (id, class), ``train_test_split.txt`` (id, 1
for train), ``classes.txt`` (class, name); photos are in ``images/``.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.data.findings import examples
from arcvit.data.readers.finish import finish
from arcvit.data.readers.lists import is_label, read_text
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.task import Split

IMAGES = "images.txt"
LABELS = "image_class_labels.txt"
SPLIT = "train_test_split.txt"
NAMES = "classes.txt"
_SPLIT_OF_FLAG = {"1": "train", "0": "test"}


def recognises(path: Path) -> bool:
    """Whether a folder has the list that no other layout has."""
    return (path / SPLIT).is_file()


def read(path: Path, opening: Opening) -> Reading:
    """Read CUB-200-2011 or NABirds.

    There is no validation split: it is held out of train, by class; VPT's lists hold out a tenth.
    NABirds numbers its classes with gaps, as inner nodes of its tree have numbers too; classes
    without images are left out.

    Raises:
        UserError: a list that is missing, malformed or that lacks an image.
    """
    images = read_lists(path)
    ids = sorted({image.class_id for image in images})
    label_of = {class_id: label for label, class_id in enumerate(ids)}
    folder = path / "images"
    splits = {
        split: Split.of(
            (folder / image.path, label_of[image.class_id])
            for image in images
            if image.split == split
        )
        for split in _SPLIT_OF_FLAG.values()
    }
    return finish(
        path,
        opening,
        layout="cub",
        root=folder,
        classes=class_names(path, ids),
        splits=splits,
        lists=dict.fromkeys(splits, path / IMAGES),
        absent={"val": "the layout has no validation split"},
    )


@dataclass(frozen=True)
class ListedImage:
    """An image of the lists."""

    path: str
    """Inside ``images``."""
    class_id: int
    """Number of its class."""
    split: str
    """``train`` or ``test``."""


def read_lists(path: Path) -> list[ListedImage]:
    """The images of the three lists, in the order of ``images.txt``.

    Raises:
        UserError: a list that is missing, malformed or that lacks an image.
    """
    for name in (IMAGES, LABELS, SPLIT):
        if not (path / name).is_file():
            raise UserError(f"{path} has no {name}: expected {IMAGES}, {LABELS} and {SPLIT}.")
    path_of, class_of, flag_of = (_read_pairs(path / name) for name in (IMAGES, LABELS, SPLIT))
    if twice := [name for name, count in Counter(path_of.values()).items() if count > 1]:
        raise UserError(
            f"{path / IMAGES} lists {len(twice)} image(s) under two ids, download it again:"
            f" {examples(twice, most=5)}."
        )
    for name, found, is_right, expected in (
        (LABELS, class_of, is_label, "a class number"),
        (SPLIT, flag_of, _SPLIT_OF_FLAG.__contains__, "1 for train or 0 for test"),
    ):
        if lacking := [image for image in path_of if image not in found]:
            raise UserError(
                f"{path / name} lacks {len(lacking)} image(s) of {IMAGES}, download it again:"
                f" {examples(lacking, most=5)}."
            )
        if wrong := [value for value in found.values() if not is_right(value)]:
            raise UserError(f"{path / name} has the value {min(wrong)!r}: expected {expected}.")
    if "test" not in {_SPLIT_OF_FLAG[flag_of[image]] for image in path_of}:
        raise UserError(f"{path / SPLIT} has no image for the test: expected lines '<image> 0'.")
    return [
        ListedImage(name, int(class_of[image]), _SPLIT_OF_FLAG[flag_of[image]])
        for image, name in path_of.items()
    ]


def _read_pairs(path: Path) -> dict[str, str]:
    """Lines ``<id> <value>`` in the order of the file."""
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        key, _, value = line.strip().partition(" ")
        if not value:
            raise UserError(f"{path} line {number} is {line!r}: expected an id and a value.")
        if key in found:
            raise UserError(f"{path} line {number} repeats {key}: expected each id once.")
        found[key] = value.strip()
    if not found:
        raise UserError(f"{path} is empty: download it again.")
    return found


def class_names(root: Path, ids: list[int]) -> tuple[str, ...]:
    """Names from ``classes.txt``; the numbers where there are none or where two are the same."""
    numbers = tuple(map(str, ids))
    if not (root / NAMES).is_file():
        return numbers
    pairs = _read_pairs(root / NAMES)
    if wrong := [key for key in pairs if not is_label(key)]:
        raise UserError(f"{root / NAMES} has the class {wrong[0]!r}: expected '<number> <name>'.")
    named = {str(int(key)): value for key, value in pairs.items()}
    names = tuple(named.get(number, number) for number in numbers)
    return names if len(set(names)) == len(names) else numbers

"""The layout of CUB-200-2011 and NABirds as they are published.

``images.txt`` (id, path), ``image_class_labels.txt`` (id, class), ``train_test_split.txt`` (id, 1
for train), ``classes.txt`` (class, name); photos are in ``images/``.
"""

from collections import Counter
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.data.readers.checks import (
    check_classes,
    check_files_there,
    check_trained,
    is_label,
    list_some,
    read_text,
)
from arcvit.data.readers.holdout import hold_out
from arcvit.data.task import ImageTask, Split

IMAGES = "images.txt"
LABELS = "image_class_labels.txt"
SPLIT = "train_test_split.txt"
NAMES = "classes.txt"
_SPLIT_OF_FLAG = {"1": "train", "0": "test"}


def is_cub(folder: Path) -> bool:
    """Whether a folder has the list that no other layout has."""
    return (folder / SPLIT).is_file()


def read_cub(root: Path, *, val_fraction: float, seed: int) -> ImageTask:
    """Read CUB-200-2011 or NABirds.

    There is no validation split: it is held out of train, by class. NABirds numbers its classes
    with gaps, as inner nodes of its tree have numbers too; classes without images are left out.

    Args:
        root: the folder of the lists.
        val_fraction: share of train to hold out, in [0, 1); VPT's lists hold out a tenth.
        seed: decides which images are held out.

    Raises:
        UserError: a list that is missing, malformed or that lacks an image, images that are not
            there, a class without train images, one class.
    """
    for name in (IMAGES, LABELS):
        if not (root / name).is_file():
            raise UserError(f"{root} has no {name}: expected {IMAGES}, {LABELS} and {SPLIT}.")
    path_of, class_of, flag_of = (_read_pairs(root / name) for name in (IMAGES, LABELS, SPLIT))
    if twice := [path for path, count in Counter(path_of.values()).items() if count > 1]:
        raise UserError(
            f"{root / IMAGES} lists {len(twice)} image(s) under two ids, download it again:"
            f" {list_some(twice, most=5)}."
        )
    for name, found in ((LABELS, class_of), (SPLIT, flag_of)):
        if lacking := [image for image in path_of if image not in found]:
            raise UserError(
                f"{root / name} lacks {len(lacking)} image(s) of {IMAGES}, download it again:"
                f" {list_some(lacking, most=5)}."
            )
        wrong = {
            value
            for value in found.values()
            if not (is_label(value) if name == LABELS else value in _SPLIT_OF_FLAG)
        }
        if wrong:
            raise UserError(
                f"{root / name} has the value {min(wrong)!r}: expected"
                f" {'a class number' if name == LABELS else '1 for train or 0 for test'}."
            )
    if "test" not in {_SPLIT_OF_FLAG[flag_of[image]] for image in path_of}:
        raise UserError(f"{root / SPLIT} has no image for the test: expected lines '<image> 0'.")

    ids = sorted({int(class_of[image]) for image in path_of})
    label_of = {str(class_id): label for label, class_id in enumerate(ids)}
    classes = _names(root, ids)
    check_classes(classes, root)
    folder = root / "images"
    splits = {}
    for split in ("train", "test"):
        images = [image for image in path_of if _SPLIT_OF_FLAG[flag_of[image]] == split]
        splits[split] = Split(
            paths=tuple(folder / path_of[image] for image in images),
            labels=tuple(label_of[str(int(class_of[image]))] for image in images),
        )
        check_files_there(splits[split].paths, root / IMAGES)
    check_trained(classes, splits["train"], root)
    train, val = hold_out(splits["train"], val_fraction, seed=seed, root=folder)
    splits |= {"train": train, "val": val}
    return ImageTask(
        name=root.resolve().name,
        root=folder,
        layout="cub",
        classes=classes,
        splits={name: splits[name] for name in ("train", "val", "test") if splits[name]},
    )


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


def _names(root: Path, ids: list[int]) -> tuple[str, ...]:
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

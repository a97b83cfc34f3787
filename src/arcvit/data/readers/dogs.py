"""The layout of Stanford Dogs as it is published: MATLAB lists, photos in ``Images/``."""

from collections import Counter
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.data.readers.checks import (
    check_apart,
    check_classes,
    check_files_there,
    check_trained,
    list_some,
)
from arcvit.data.readers.holdout import hold_out
from arcvit.data.task import ImageTask, Split

LIST_OF_SPLIT = {"train": "train_list.mat", "test": "test_list.mat"}


def is_dogs(folder: Path) -> bool:
    """Whether a folder has one of the lists."""
    return any((folder / name).is_file() for name in LIST_OF_SPLIT.values())


def read_dogs(root: Path, *, val_fraction: float, seed: int) -> ImageTask:
    """Read Stanford Dogs. There is no validation split: it is held out of train, by class.

    Class names are those of the photos' folders, without the WordNet number.

    Args:
        root: the folder of ``train_list.mat`` and ``test_list.mat``.
        val_fraction: share of train to hold out, in [0, 1); VPT's lists hold out a tenth.
        seed: decides which images are held out.

    Raises:
        UserError: scipy isn't installed, a list that is missing or malformed, images that are not
            there or in two splits, a class without train images, one class.
    """
    folder = root / "Images"
    listed = {}
    for split, name in LIST_OF_SPLIT.items():
        if not (root / name).is_file():
            raise UserError(
                f"{root} has no {name}: expected {' and '.join(LIST_OF_SPLIT.values())}."
            )
        listed[split] = read_mat_list(root / name)
    ids = sorted({class_id for pairs in listed.values() for _, class_id in pairs})
    label_of = {class_id: label for label, class_id in enumerate(ids)}
    folder_of = {class_id: Path(name).parent.name for name, class_id in listed["train"]}
    classes = tuple(_class_name(folder_of.get(class_id, ""), class_id) for class_id in ids)
    check_classes(classes, root)
    splits = {
        split: Split(
            paths=tuple(folder / name for name, _ in pairs),
            labels=tuple(label_of[class_id] for _, class_id in pairs),
        )
        for split, pairs in listed.items()
    }
    for split, images in splits.items():
        check_files_there(images.paths, root / LIST_OF_SPLIT[split])
    check_apart(splits, root)
    check_trained(classes, splits["train"], root)
    train, val = hold_out(splits["train"], val_fraction, seed=seed, root=folder)
    splits |= {"train": train, "val": val}
    return ImageTask(
        name=root.resolve().name,
        root=folder,
        layout="dogs",
        classes=classes,
        splits={name: splits[name] for name in ("train", "val", "test") if splits[name]},
    )


def read_mat_list(path: Path) -> list[tuple[str, int]]:
    """Path inside ``Images`` and class number of each image of a list.

    Raises:
        UserError: scipy isn't installed, or the file is damaged or another one.
    """
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise UserError(
            f"{path} is a MATLAB file, and scipy isn't installed: expected it for Stanford Dogs,"
            " run pip install 'arcvit[matlab]'."
        ) from error
    try:
        content = loadmat(path, variable_names=["file_list", "labels"])
        names = [str(cell.item()) for cell in content["file_list"].ravel()]
        labels = [int(label) for label in content["labels"].ravel()]
    except (MatReadError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise UserError(
            f"{path} can't be read: expected file_list and labels of Stanford Dogs ({error})."
        ) from error
    if not names or len(names) != len(labels):
        raise UserError(f"{path} has {len(names)} image(s) but {len(labels)} label(s).")
    twice = sorted({name for name, count in Counter(names).items() if count > 1})
    if twice:
        raise UserError(
            f"{path} lists {len(twice)} image(s) more than once, download it again:"
            f" {list_some(twice, most=5)}."
        )
    return list(zip(names, labels, strict=True))


def _class_name(folder: str, class_id: int) -> str:
    # "n02085620-Chihuahua"; a breed may have a dash of its own.
    return folder.partition("-")[2] or folder or str(class_id)

"""The FGVC layout of VPT: ``{train,val,trainval,test}.json``, each ``{"path.jpg": class_id}``."""

import json
from collections.abc import Sequence
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.data.readers.checks import check_apart, check_classes, check_files_there, check_trained
from arcvit.data.readers.holdout import hold_out
from arcvit.data.task import SPLITS, ImageTask, Split

# VPT reads CUB and NABirds from images/, Dogs from Images/, Cars and Flowers from the root.
IMAGE_FOLDERS = ("", "images", "Images")


def is_fgvc(folder: Path) -> bool:
    """Whether a folder has one of the lists."""
    return any((folder / f"{split}.json").is_file() for split in SPLITS)


def read_fgvc(root: Path, *, val_fraction: float, seed: int) -> ImageTask:
    """Read a task in the layout of VPT (src/data/datasets/json_dataset.py).

    Class ids are any whole numbers. VPT maps those of each split by itself, which shifts labels
    when a class is missing from one. Here one map covers all splits.

    Args:
        root: the folder of the json files; images lie in it, in ``images`` or in ``Images``.
        val_fraction: share of train to hold out where there is no ``val.json``, in [0, 1).
        seed: decides which images are held out.

    Raises:
        UserError: a list that is missing or malformed, images that are not there, an image in two
            splits, a class without train images, one class.
    """
    if not (root / "train.json").is_file():
        raise UserError(
            f"{root} has no train.json: expected train.json, val.json and test.json, each"
            ' {"path.jpg": class_id}.'
        )
    lists = {
        split: _read_list(root / f"{split}.json")
        for split in SPLITS
        if (root / f"{split}.json").is_file()
    }
    ids = sorted({class_id for ids in lists.values() for class_id in ids.values()})
    classes = tuple(str(class_id) for class_id in ids)
    check_classes(classes, root)

    images = image_folder(root, [name for names in lists.values() for name in names])
    label_of = {class_id: label for label, class_id in enumerate(ids)}
    splits = {
        split: Split(
            paths=tuple(images / name for name in names),
            labels=tuple(label_of[class_id] for class_id in names.values()),
        )
        for split, names in lists.items()
    }
    for split, listed in splits.items():
        check_files_there(listed.paths, root / f"{split}.json")
    check_apart(splits, root)
    check_trained(classes, splits["train"], root)
    if "val" not in splits:
        train, val = hold_out(splits["train"], val_fraction, seed=seed, root=images)
        splits |= {"train": train, "val": val}
    return ImageTask(
        name=root.resolve().name,
        root=images,
        layout="fgvc",
        classes=classes,
        splits={split: splits[split] for split in SPLITS if splits.get(split)},
    )


def parse_list(path: Path) -> tuple[dict[str, int], list[str]]:
    """Read one of the json files.

    Returns:
        Class id of each image that has one, and a sentence for each thing that is wrong.
    """
    complaints = []

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        # json keeps the last of repeated keys without a word.
        found: dict[str, object] = {}
        for key, value in pairs:
            if key in found:
                complaints.append(f"{path} lists {key!r} twice: expected each image once.")
            found.setdefault(key, value)
        return found

    try:
        listed = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=once)
    except ValueError as error:
        return {}, [f"{path} can't be read as JSON: {error}."]
    if not isinstance(listed, dict) or not listed:
        return {}, [f'{path} has no images: expected one object {{"path.jpg": class_id}}.']
    for name, class_id in listed.items():
        if type(class_id) is not int:
            complaints.append(
                f"{path} gives {name!r} the class {class_id!r}: expected a whole number."
            )
    return {name: value for name, value in listed.items() if type(value) is int}, complaints


def _read_list(path: Path) -> dict[str, int]:
    listed, complaints = parse_list(path)
    if complaints:
        raise UserError(complaints[0])
    return listed


def image_folder(root: Path, listed: Sequence[str]) -> Path:
    """The folder that the paths in the lists start from: the first that holds one of the images.

    Raises:
        UserError: none of the images is in one of ``IMAGE_FOLDERS``.
    """
    folders = [root / name for name in IMAGE_FOLDERS]
    for name in listed:
        for folder in folders:
            if (folder / name).is_file():
                return folder
    raise UserError(
        f"the lists of {root} name {len(listed):,} image(s), none of which is in"
        f" {', '.join(map(str, folders))}: put the images in one of them."
    )

"""The layout of Stanford Dogs as it is published: MATLAB lists, photos in ``Images/``."""

from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.data.readers.finish import finish
from arcvit.data.readers.matlab import labelled, read_mat, texts, whole_numbers
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.task import Split

LIST_OF_SPLIT = {"train": "train_list.mat", "test": "test_list.mat"}


def recognises(path: Path) -> bool:
    """Whether a folder has one of the lists."""
    return any((path / name).is_file() for name in LIST_OF_SPLIT.values())


def read(path: Path, opening: Opening) -> Reading:
    """Read Stanford Dogs.

    There is no validation split: it is held out of train, by class; VPT's lists hold out a tenth.
    Class names are those of the photos' folders, without the WordNet number.

    Raises:
        UserError: scipy isn't installed, or a list is missing or malformed.
    """
    lists = {split: path / name for split, name in LIST_OF_SPLIT.items()}
    listed = {}
    for split, file in lists.items():
        if not file.is_file():
            raise UserError(
                f"{path} has no {file.name}: expected {' and '.join(LIST_OF_SPLIT.values())}."
            )
        listed[split] = read_mat_list(file)
    ids = sorted({class_id for pairs in listed.values() for _, class_id in pairs})
    label_of = {class_id: label for label, class_id in enumerate(ids)}
    folder_of = {class_id: Path(name).parent.name for name, class_id in listed["train"]}
    folder = path / "Images"
    return finish(
        path,
        opening,
        layout="dogs",
        root=folder,
        classes=[breed(folder_of.get(each, ""), each) for each in ids],
        splits={
            split: Split.of((folder / name, label_of[class_id]) for name, class_id in pairs)
            for split, pairs in listed.items()
        },
        lists=lists,
        absent={"val": "the layout has no validation split"},
    )


def read_mat_list(path: Path) -> list[tuple[str, int]]:
    """Path inside ``Images`` and class number of each image of a list.

    Raises:
        UserError: scipy isn't installed, or the file is damaged or another one.
    """

    def take(files: Any, numbers: Any) -> tuple[list[str], list[int]]:
        return texts(files), whole_numbers(numbers)

    names, labels = read_mat(path, take, "file_list", "labels", of="Stanford Dogs")
    return list(labelled(path, names, labels).items())


def breed(folder: str, class_id: int) -> str:
    """A class's name from its folder, such as ``n02085620-Chihuahua``; some have a dash."""
    return folder.partition("-")[2] or folder or str(class_id)

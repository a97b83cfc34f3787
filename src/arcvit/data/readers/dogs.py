"""The layout of Stanford Dogs as it is published: MATLAB lists, photos in ``Images/``."""

from collections import Counter
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.extras import require
from arcvit.data.findings import examples
from arcvit.data.readers.finish import finish
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
        classes=[_class_name(folder_of.get(each, ""), each) for each in ids],
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
    require("matlab", f"{path}, a MATLAB file,")
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

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
            f" {examples(twice, most=5)}."
        )
    return list(zip(names, labels, strict=True))


def _class_name(folder: str, class_id: int) -> str:
    # "n02085620-Chihuahua"; a breed may have a dash of its own.
    return folder.partition("-")[2] or folder or str(class_id)

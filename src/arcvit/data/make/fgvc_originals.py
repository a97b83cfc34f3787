"""The five data sets of FGVC as their archives unpack: parts, class numbers, folders of images.

Images are called as VPT's lists call them, and classes have the numbers that the data sets give
them, most often from 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from arcvit.core.errors import UserError
from arcvit.data.catalogue import recognise
from arcvit.data.findings import examples
from arcvit.data.readers import cub, dogs
from arcvit.data.readers.folders import subfolders
from arcvit.data.readers.matlab import labelled, read_mat, texts, whole_numbers

CARS_MERGED = "cars_annos.mat"
CARS_TRAIN = "cars_train_annos.mat"
CARS_TEST = "cars_test_annos_withlabels.mat"
CARS_NAMES = "cars_meta.mat"
FLOWER_LABELS = "imagelabels.mat"
FLOWER_SPLITS = "setid.mat"

Labels = Mapping[str, int]
"""The class number of each image, by its path."""


@dataclass(frozen=True, kw_only=True)
class Original:
    """A data set as it is published."""

    folder: Path
    """Where it was found."""
    parts: Mapping[str, Labels]
    """``train``, ``test`` and, of Flowers alone, ``val``."""
    image_folders: tuple[str, ...]
    """Folders in ``folder`` that hold images and nothing else."""
    root: str = ""
    """The folder in ``folder`` that paths start from."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Names of classes by number, where the data set has them."""

    def file(self, name: str) -> Path:
        """Where an image lies."""
        return self.folder / self.root / name


def _cub(name: str, source: Path) -> Original:
    folder = _find(name, source, cub.IMAGES, cub.SPLIT)
    images = cub.read_lists(folder)
    ids = sorted({image.class_id for image in images})
    return Original(
        folder=folder,
        parts={
            split: {image.path: image.class_id for image in images if image.split == split}
            for split in ("train", "test")
        },
        image_folders=("images",),
        root="images",
        names=dict(zip(ids, cub.class_names(folder, ids), strict=True)),
    )


def _dogs(name: str, source: Path) -> Original:
    train, test = dogs.LIST_OF_SPLIT["train"], dogs.LIST_OF_SPLIT["test"]
    folder = _find(name, source, train, f"lists/{train}", test, f"lists/{test}")
    parts = {
        split: dict(dogs.read_mat_list(_either(folder, name, f"lists/{name}")))
        for split, name in dogs.LIST_OF_SPLIT.items()
    }
    breeds = {number: Path(name).parent.name for name, number in parts["train"].items()}
    return Original(
        folder=folder,
        parts=parts,
        image_folders=("Images",),
        root="Images",
        names={number: dogs.breed(breed, number) for number, breed in breeds.items()},
    )


def _flowers(name: str, source: Path) -> Original:
    folder = _find(name, source, FLOWER_LABELS, FLOWER_SPLITS)
    of = "Oxford Flowers 102"
    labels = read_mat(_either(folder, FLOWER_LABELS), whole_numbers, "labels", of=of)
    # What is called tstid is the larger part; some train on it, VPT and the authors don't.
    file, keys = _either(folder, FLOWER_SPLITS), ("trnid", "valid", "tstid")
    numbers = read_mat(file, lambda *ids: list(map(whole_numbers, ids)), *keys, of=of)
    parts = {}
    for split, ids in zip(("train", "val", "test"), numbers, strict=True):
        if wrong := [number for number in ids if not 0 < number <= len(labels)]:
            raise UserError(
                f"{file} has the image {wrong[0]} in {split}, {folder / FLOWER_LABELS} has labels"
                f" of {len(labels):,}: get both again."
            )
        names = [f"jpg/image_{number:05d}.jpg" for number in ids]
        parts[split] = labelled(file, names, [labels[number - 1] for number in ids])
    return Original(folder=folder, parts=parts, image_folders=("jpg",))


def _cars(name: str, source: Path) -> Original:
    """The merged layout (car_ims) or that of the devkit (cars_train and cars_test)."""
    folder = _find(name, source, CARS_MERGED, CARS_TRAIN, f"devkit/{CARS_TRAIN}")
    merged = folder / CARS_MERGED
    # Copies are about that have the merged list beside the photos of the devkit.
    if merged.is_file() and ((folder / "car_ims").is_dir() or not _has(folder, CARS_TRAIN)):
        return _merged_cars(folder, merged)
    train, test, meta = (
        _either(folder, f"devkit/{name}", name) for name in (CARS_TRAIN, CARS_TEST, CARS_NAMES)
    )
    parts, image_folders = {}, []
    for split, file in (("train", train), ("test", test)):
        # One copy in circulation has each folder inside one of the same name.
        plain = f"cars_{split}"
        inside = f"{plain}/{plain}" if (folder / plain / plain).is_dir() else plain
        names, labels = read_mat(
            file,
            lambda rows: (texts(rows["fname"]), whole_numbers(rows["class"])),
            "annotations",
            of="Stanford Cars with classes",
        )
        parts[split] = labelled(file, [f"{inside}/{name}" for name in names], labels)
        image_folders.append(plain)
    named = read_mat(meta, texts, "class_names", of="Stanford Cars")
    return Original(
        folder=folder,
        parts=parts,
        image_folders=tuple(image_folders),
        names=dict(enumerate(named, start=1)),
    )


def _merged_cars(folder: Path, file: Path) -> Original:
    def take(rows: Any, names: Any) -> tuple[list[str], list[int], list[int], list[str]]:
        paths, labels = texts(rows["relative_im_path"]), whole_numbers(rows["class"])
        return paths, labels, whole_numbers(rows["test"]), texts(names)

    paths, labels, flags, named = read_mat(
        file, take, "annotations", "class_names", of="Stanford Cars"
    )
    class_of = labelled(file, paths, labels)
    flag_of = dict(zip(paths, flags, strict=True))
    return Original(
        folder=folder,
        parts={
            split: {path: label for path, label in class_of.items() if flag_of[path] == flag}
            for split, flag in (("train", 0), ("test", 1))
        },
        image_folders=("car_ims",),
        names=dict(enumerate(named, start=1)),
    )


_READERS: Mapping[str, Callable[[str, Path], Original]] = MappingProxyType(
    {
        "CUB_200_2011": _cub,
        "NABirds": _cub,
        "OxfordFlowers": _flowers,
        "StanfordDogs": _dogs,
        "StanfordCars": _cars,
    }
)


def read_original(name: str, source: Path) -> Original:
    """Read the lists of a data set.

    Args:
        name: of the task.
        source: the folder that the archives were unpacked in, or the one that they made in it; in a
            folder of downloads the one with the task's name.

    Raises:
        UserError: a list that is missing, damaged or of another data set, or scipy isn't installed.
    """
    if not source.is_dir():
        state = "is a file" if source.exists() else "isn't there"
        raise UserError(f"{source} {state}: expected a folder, what the published archives unpack.")
    original = _READERS[name](name, source)
    for part in original.parts.values():
        outside = [
            path for path in part if path.startswith("/") or ".." in PurePosixPath(path).parts
        ]
        if outside:
            raise UserError(
                f"the lists in {original.folder} name {len(outside):,} image(s) outside it:"
                f" {examples(outside)}; get them again."
            )
    return original


def is_called(folder: Path, name: str) -> bool:
    """Whether a folder has a name of the task."""
    task = recognise(folder.name, suite="fgvc")
    return task is not None and task.name == name


def _find(name: str, source: Path, *markers: str) -> Path:
    """The folder that has one of the files: the source or one in it, that of the task first.

    What an earlier call has built may lie there under the same name, and has none of them.
    """
    named = [folder for folder in subfolders(source) if is_called(folder, name)]
    for home in (*named, source):
        for folder in (home, *subfolders(home)):
            if any((folder / marker).is_file() for marker in markers):
                return folder
    raise UserError(
        f"{source} has no {' or '.join(markers)}, nor has a folder in it: expected what the"
        " published archives unpack."
    )


def _has(folder: Path, name: str) -> bool:
    return (folder / name).is_file() or (folder / "devkit" / name).is_file()


def _either(folder: Path, *names: str) -> Path:
    """The first of the files that is there."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder} has no {' or '.join(names)}: expected it beside the other lists.")

"""Flowers, Dogs and Cars in the formats of their MATLAB files, nested as the originals are."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arcvit.core.errors import UserError
from arcvit.data.catalogue import find_task
from arcvit.data.make.fgvc import prepare_fgvc
from arcvit.data.readers.layouts import open_task

savemat = pytest.importorskip("scipy.io").savemat

Plant = Callable[[Mapping[str, int]], Path]
FLOWERS = replace(find_task("OxfordFlowers"), classes=3, train=3, val=3, test=6)
DOGS = replace(find_task("dogs"), classes=2, train=18, val=2, test=6)
CARS = replace(find_task("cars"), classes=2, train=9, val=1, test=4)


def cells(texts: Sequence[str]) -> Any:
    """A cell array, (N, 1)."""
    array = np.empty((len(texts), 1), dtype=object)
    array[:, 0] = texts
    return array


def structs(rows: Sequence[Mapping[str, object]]) -> Any:
    """A struct array, (1, N)."""
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for index, row in enumerate(rows):
        array[0, index] = tuple(row.values())
    return array


def touch(root: Path, names: Sequence[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Twelve images of three classes; train has the first three, test what tstid names."""
    root = tmp_path / "flowers"
    touch(root, [f"jpg/image_{number:05d}.jpg" for number in range(1, 13)])
    savemat(root / "imagelabels.mat", {"labels": np.array([[1, 2, 3] * 4], dtype=np.uint8)})
    parts = {"trnid": [[1, 2, 3]], "valid": [[6, 5, 4]], "tstid": [[7, 8, 9, 10, 11, 12]]}
    savemat(root / "setid.mat", {name: np.array(ids) for name, ids in parts.items()})
    return root


@pytest.fixture
def dogs(tmp_path: Path) -> Path:
    root = tmp_path / "dogs"
    for part, numbers in (("train", range(10)), ("test", range(10, 13))):
        names = [
            f"n02085620-{breed}/n02085620_{i}.jpg"
            for breed in ("Pug", "Chow-Chow")
            for i in numbers
        ]
        touch(root / "Images", names)
        (root / "lists").mkdir(exist_ok=True)
        labels = np.array([[1.0 + ("Chow" in name)] for name in names])
        content = {"file_list": cells(names), "annotation_list": cells(names), "labels": labels}
        savemat(root / f"lists/{part}_list.mat", content)
    return root


BOX = {name: np.uint16(300) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")}
MODELS = ("Acura TL Sedan 2012", "smart fortwo Convertible 2012")


@pytest.fixture
def cars(tmp_path: Path) -> Path:
    """As the devkit has them."""
    root = tmp_path / "cars"
    (root / "devkit").mkdir(parents=True)
    savemat(root / "devkit/cars_meta.mat", {"class_names": cells(MODELS).T})
    for file, count in (
        ("devkit/cars_train_annos.mat", 10),
        ("cars_test_annos_withlabels.mat", 4),
    ):
        part = "cars_train" if "train" in file else "cars_test"
        rows = [
            {**BOX, "class": np.uint8(i % 2 + 1), "fname": f"{i + 1:05d}.jpg"} for i in range(count)
        ]
        touch(root / part, [str(row["fname"]) for row in rows])
        savemat(root / file, {"annotations": structs(rows)})
    return root


@pytest.fixture
def merged_cars(tmp_path: Path) -> Path:
    root = tmp_path / "merged"
    names = [f"car_ims/{number:06d}.jpg" for number in range(1, 15)]
    touch(root, names)
    rows = [
        {"relative_im_path": name, **BOX, "class": i % 2 + 1, "test": np.uint8(i >= 10)}
        for i, name in enumerate(names)
    ]
    content = {"annotations": structs(rows), "class_names": cells(MODELS).T}
    savemat(root / "cars_annos.mat", content)
    return root


def test_flowers_have_a_validation_part(flowers: Path, tmp_path: Path) -> None:
    prepared = prepare_fgvc(FLOWERS, flowers, tmp_path / "out", seed=0)
    assert (prepared.validation, prepared.counts) == ("official", {"train": 3, "val": 3, "test": 6})
    listed = json.loads((prepared.folder / "val.json").read_text())
    assert listed == {f"jpg/image_0000{i}.jpg": label for i, label in ((6, 3), (5, 2), (4, 1))}
    task = open_task(prepared.folder)
    assert task.classes == ("1", "2", "3")
    assert task.split("test").paths[0] == prepared.folder / "jpg/image_00007.jpg"


def test_dogs(dogs: Path, tmp_path: Path) -> None:
    prepared = prepare_fgvc(DOGS, dogs, tmp_path / "out", seed=0)
    assert prepared.counts == {"train": 18, "val": 2, "test": 6}
    task = open_task(prepared.folder)
    assert task.classes == ("Pug", "Chow-Chow")
    assert task.root == prepared.folder / "Images"
    for file in (dogs / "lists").iterdir():
        file.rename(dogs / file.name)
    assert not prepare_fgvc(DOGS, dogs, tmp_path / "out", seed=0).written


def test_cars_of_the_devkit(cars: Path, tmp_path: Path) -> None:
    prepared = prepare_fgvc(CARS, cars, tmp_path / "out", seed=0)
    task = open_task(prepared.folder)
    assert task.classes == MODELS
    assert task.split("test").paths[1] == prepared.folder / "cars_test/00002.jpg"
    assert task.split("test").labels == (0, 1, 0, 1)
    # Each folder inside one of the same name, and a list of the other layout beside them.
    for part in ("cars_train", "cars_test"):
        (cars / part).rename(cars / "inner")
        (cars / part).mkdir()
        (cars / "inner").rename(cars / part / part)
    (cars / "cars_annos.mat").write_bytes(b"not read")
    nested = open_task(prepare_fgvc(CARS, cars, tmp_path / "nested", seed=0).folder)
    assert nested.split("test").labels == task.split("test").labels


def test_merged_cars(merged_cars: Path, tmp_path: Path) -> None:
    prepared = prepare_fgvc(CARS, merged_cars, tmp_path / "out", seed=0)
    task = open_task(prepared.folder)
    assert task.classes == MODELS
    assert [path.name for path in task.split("test").paths] == [
        f"0000{i}.jpg" for i in range(11, 15)
    ]


def test_one_damaged_or_absent_file(
    flowers: Path, cars: Path, dogs: Path, merged_cars: Path, tmp_path: Path
) -> None:
    whole = (flowers / "setid.mat").read_bytes()
    labels = {"labels": np.array([[1.5] * 12])}
    swapped = {"trnid": [[7, 8, 9, 10, 11, 12]], "valid": [[4, 5, 6]], "tstid": [[1, 2, 3]]}
    beyond = {"trnid": [[1, 2, 3]], "valid": [[4, 5, 6]], "tstid": [[7, 8, 9, 10, 11, 13]]}
    twice = {"trnid": [[1, 2, 3]], "valid": [[4, 5, 6]], "tstid": [[7, 8, 9, 10, 11, 11]]}
    shared = {"trnid": [[1, 2, 3]], "valid": [[1, 5, 6]], "tstid": [[7, 8, 9, 10, 11, 12]]}
    # A type of text that there isn't, on which scipy crashes.
    before_text = b"\x10\0\0\0" + len("Acura TL Sedan 2012").to_bytes(4, "little")
    meta = (cars / "devkit/cars_meta.mat").read_bytes()
    assert meta.count(before_text) == 1
    crashing = meta.replace(before_text, b"\xf0" + before_text[1:])
    unlabelled = {"annotations": structs([{**BOX, "fname": "00001.jpg"}])}
    cases: list[tuple[Any, Path, str, object, str]] = [
        (FLOWERS, flowers, "setid.mat", b"", r"setid\.mat can't be read: expected trnid and valid"),
        (FLOWERS, flowers, "setid.mat", whole[:300], r"setid\.mat can't be read"),
        (FLOWERS, flowers, "setid.mat", b"MATLAB 7.3 MAT-file" + b" " * 500, "can't be read"),
        (FLOWERS, flowers, "setid.mat", labels, r"setid\.mat can't be read: .*'trnid'"),
        (FLOWERS, flowers, "setid.mat", swapped, "3 train, 3 val, 6 test images, its lists have 3"),
        (FLOWERS, flowers, "setid.mat", beyond, r"the image 13 in test, .*has labels of 12"),
        (FLOWERS, flowers, "setid.mat", twice, r"setid\.mat lists 1 image.s. more than once"),
        (FLOWERS, flowers, "setid.mat", shared, r"1 image\(s\) in both train and val"),
        (FLOWERS, flowers, "imagelabels.mat", labels, "1.5 isn't a whole number"),
        (FLOWERS, flowers, "imagelabels.mat", None, r"has no imagelabels\.mat: expected it beside"),
        (CARS, cars, "cars_test_annos_withlabels.mat", unlabelled, "Stanford Cars with classes"),
        (CARS, cars, "cars_test_annos_withlabels.mat", None, "has no devkit/cars_test_annos_with"),
        (CARS, cars, "devkit/cars_meta.mat", {"class_names": 3}, r"cars_meta\.mat can't be read"),
        (CARS, cars, "devkit/cars_meta.mat", crashing, "a type or a size that can't be"),
        (CARS, merged_cars, "cars_annos.mat", {"annotations": 1}, r"cars_annos\.mat can't be read"),
        (DOGS, dogs, "lists/test_list.mat", None, r"has no test_list\.mat or lists/test_list\.mat"),
    ]
    for task, source, name, content, sentence in cases:
        before = (source / name).read_bytes()
        if content is None:
            (source / name).unlink()
        elif isinstance(content, bytes):
            (source / name).write_bytes(content)
        else:
            savemat(source / name, content)
        with pytest.raises(UserError, match=sentence):
            prepare_fgvc(task, source, tmp_path / "out", seed=0)
        assert not (tmp_path / "out").exists()
        (source / name).write_bytes(before)

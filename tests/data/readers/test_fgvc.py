import json
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.fgvc import recognises
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.reader import Opening
from arcvit.data.task import ImageTask

LISTS = {
    "train": {"x/a.jpg": 40, "x/b.jpg": 7, "y/c.jpg": 1005},
    "val": {"y/d.jpg": 1005},
    "test": {"x/e.jpg": 40, "x/f.jpg": 7},
}


def write(root: Path, lists: object, *, images: str = "images") -> Path:
    assert isinstance(lists, dict)
    for name, listed in lists.items():
        text = listed if isinstance(listed, str) else json.dumps(listed)
        (root / f"{name}.json").write_text(text)
    for name in ("x/a.jpg", "x/b.jpg", "y/c.jpg", "y/d.jpg", "x/e.jpg", "x/f.jpg"):
        (root / images / name).parent.mkdir(parents=True, exist_ok=True)
        (root / images / name).touch()
    return root


def read(root: Path, *, val_fraction: float = 0.2, seed: int = 0) -> ImageTask:
    return open_task(root, Opening(val_fraction=val_fraction, seed=seed))


@pytest.mark.parametrize("images", ["", "images", "Images"])
def test_one_map_over_all_splits(tmp_path: Path, images: str) -> None:
    task = read(write(tmp_path, LISTS, images=images))
    assert (task.name, task.layout, task.root) == (tmp_path.name, "fgvc", tmp_path / images)
    assert task.classes == ("7", "40", "1005")
    assert list(task.splits) == ["train", "val", "test"]
    assert task.split("train").labels == (1, 0, 2)
    assert task.split("val").labels == (2,)
    assert task.split("train").paths[0] == tmp_path / images / "x/a.jpg"


def test_trainval_of_its_own(tmp_path: Path) -> None:
    task = read(write(tmp_path, {**LISTS, "trainval": {**LISTS["train"], **LISTS["val"]}}))
    assert list(task.splits) == ["train", "val", "trainval", "test"]
    assert len(task.trainval()) == 4


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ('{"7": "Loon", "40": "Gull", "1005": "Tern"}', ("Loon", "Gull", "Tern")),
        ('{"7": "Loon"}', ("Loon", "40", "1005")),
        ('{"7": "Loon", "40": "Loon"}', ("7", "40", "1005")),
    ],
)
def test_classes_have_names(tmp_path: Path, names: str, classes: tuple[str, ...]) -> None:
    (write(tmp_path, LISTS) / "class_names.json").write_text(names)
    assert read(tmp_path).classes == classes


@pytest.mark.parametrize(
    ("names", "sentence"),
    [("[]", "is damaged: expected a JSON object"), ('{"7": 3}', "the name 3")],
)
def test_wrong_names(tmp_path: Path, names: str, sentence: str) -> None:
    (write(tmp_path, LISTS) / "class_names.json").write_text(names)
    with pytest.raises(UserError, match=sentence):
        read(tmp_path)


def test_val_is_held_out_of_train(tmp_path: Path) -> None:
    train = {"x/a.jpg": 1, "x/b.jpg": 1, "y/c.jpg": 1, "y/d.jpg": 2}
    task = read(write(tmp_path, {"train": train}), val_fraction=0.34)
    assert {name: len(split) for name, split in task.splits.items()} == {"train": 3, "val": 1}
    assert task.split("val").labels == (0,)


@pytest.mark.parametrize(("name", "expected"), [("train", True), ("test", True), ("x", False)])
def test_what_is_recognised(tmp_path: Path, name: str, expected: bool) -> None:
    (tmp_path / f"{name}.json").touch()
    assert recognises(tmp_path) is expected


TRAIN = LISTS["train"]


@pytest.mark.parametrize(
    ("lists", "sentence"),
    [
        ({"test": {}}, "has no train.json"),
        ({"train": "{"}, r"train\.json can't be read as JSON.*line 1"),
        ({"train": "[1]"}, r"train\.json has no images: expected one object"),
        ({"train": "{}"}, r"train\.json has no images"),
        ({"train": TRAIN, "test": "{}"}, r"test\.json has no images"),
        ({"train": '{"x/a.jpg": 1, "x/a.jpg": 2}'}, "'x/a.jpg' twice"),
        ({"train": {"x/a.jpg": "1"}}, "'x/a.jpg' the class '1': expected a whole"),
        ({"train": {"x/a.jpg": 1.0}}, "the class 1.0"),
        ({"train": {"x/a.jpg": True}}, "the class True"),
        ({"train": {"x/a.jpg": 1}}, "at least 2, found only '1'"),
        ({"train": {"q.jpg": 1, "x/a.jpg": 2}}, r"train\.json lists 1 .*q\.jpg"),
        ({"train": {"q.jpg": 1, "r.jpg": 2}}, "name 2 image.*none of which is in .*Images"),
        ({"train": {"x/a.jpg": 1, "q.jpg": 2}}, r"train\.json lists 1 .*q\.jpg"),
        ({"train": TRAIN, "test": {"x/a.jpg": 40}}, "in both train and test"),
        ({"train": TRAIN, "test": {"x/e.jpg": 41}}, "no image in train.*'41'"),
    ],
)
def test_wrong_lists(tmp_path: Path, lists: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read(write(tmp_path, lists))

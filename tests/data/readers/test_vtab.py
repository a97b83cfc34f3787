from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.vtab import LIST_OF_SPLIT, recognises

LISTS = {
    "train800": "images/train800/0.jpg 2\nimages/train800/1.jpg 0\n",
    "val200": "images/val200/0.jpg 0\n",
    "train800val200": "\n".join(f"images/train800val200/{i}.jpg {i % 3}" for i in range(3)),
    "test": "images/test/0 a.png 1\r\nimages/test/1.jpg 3\r\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar"
    for name in (
        "train800/0.jpg",
        "train800/1.jpg",
        "val200/0.jpg",
        "train800val200/0.jpg",
        "train800val200/1.jpg",
        "train800val200/2.jpg",
        "test/0 a.png",
        "test/1.jpg",
    ):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).touch()
    for name, text in LISTS.items():
        (folder / f"{name}.txt").write_text(text, newline="")
    return folder


def test_the_lists_are_the_splits(root: Path) -> None:
    task = open_task(root)
    assert (task.name, task.layout, task.root) == ("cifar", "vtab", root)
    # Labels run to 3, in the test list alone.
    assert task.classes == ("0", "1", "2", "3")
    assert list(task.splits) == ["train", "val", "trainval", "test"]
    assert task.split("train").labels == (2, 0)
    assert task.split("test").paths == (root / "images/test/0 a.png", root / "images/test/1.jpg")
    assert task.trainval() is task.split("trainval")
    assert task.trainval().paths[0] == root / "images/train800val200/0.jpg"


def test_lists_that_are_missing(root: Path) -> None:
    for name in ("val200", "train800val200", "test"):
        (root / f"{name}.txt").unlink()
    assert list(open_task(root).splits) == ["train"]


def test_what_is_recognised(root: Path) -> None:
    assert recognises(root)
    for name in ("train800", "val200", "train800val200"):
        (root / f"{name}.txt").unlink()
    assert not recognises(root)


def test_names_of_classes(root: Path) -> None:
    (root / "classes.txt").write_text("ant\nbee\ncat\ndog\nemu\n\n")
    assert open_task(root).classes == ("ant", "bee", "cat", "dog", "emu")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("a\nb\nc\n", r"classes\.txt has 3 name\(s\): expected 4"),
        ("a\nb\nc\nc\n", r"4 name\(s\): expected 4 different"),
    ],
)
def test_wrong_names(root: Path, names: str, sentence: str) -> None:
    (root / "classes.txt").write_text(names)
    with pytest.raises(UserError, match=sentence):
        open_task(root)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("train800", "", r"train800\.txt is empty"),
        ("train800", "images/train800/0.jpg\n", r"train800\.txt line 1 is 'images/train800/0.jpg'"),
        ("val200", "images/val200/0.jpg 0\n\n7\n", r"val200\.txt line 3 is '7'"),
        ("val200", "images/val200/0.jpg -1\n", r"line 1 is .*whole number"),
        ("val200", "images/val200/0.jpg 1.0\n", r"line 1 is .*whole number"),
        ("val200", "images/val200/0.jpg 99999\n", "label 99999 but only 5 different"),
        ("val200", "images/val200/0.jpg 0\nimages/val200/0.jpg 0\n", "in lines 1 and 2"),
        ("test", "images/test/8.jpg 0\nimages/test/9.jpg 0\n", r"test\.txt lists 2 .*8.jpg, .*9"),
        ("test", "images/val200/0.jpg 0\n", "in both val and test"),
        ("test", "images/train800val200/0.jpg 0\n", "in both trainval and test"),
    ],
)
def test_wrong_lists(root: Path, name: str, text: str, sentence: str) -> None:
    (root / f"{name}.txt").write_text(text)
    with pytest.raises(UserError, match=sentence):
        open_task(root)


def test_train_is_needed(root: Path) -> None:
    (root / LIST_OF_SPLIT["train"]).unlink()
    with pytest.raises(UserError, match=r"cifar has no train800\.txt"):
        open_task(root)

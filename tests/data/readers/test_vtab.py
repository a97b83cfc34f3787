from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.vtab import LIST_OF_SPLIT, is_vtab, read_vtab

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
    task = read_vtab(root)
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
    assert list(read_vtab(root).splits) == ["train"]


def test_is_vtab(root: Path) -> None:
    assert is_vtab(root)
    for name in ("train800", "val200", "train800val200"):
        (root / f"{name}.txt").unlink()
    assert not is_vtab(root)


def test_number_and_names_of_classes(root: Path) -> None:
    assert read_vtab(root, num_classes=6).classes == ("0", "1", "2", "3", "4", "5")
    (root / "classes.txt").write_text("ant\nbee\ncat\ndog\nemu\n\n")
    assert read_vtab(root).classes == ("ant", "bee", "cat", "dog", "emu")
    assert read_vtab(root, num_classes=5).classes == ("ant", "bee", "cat", "dog", "emu")


@pytest.mark.parametrize(
    ("names", "num_classes", "sentence"),
    [
        (None, 3, "has the label 3: expected labels from 0 to 2"),
        ("a\nb\nc\n", None, r"classes\.txt has 3 name\(s\): expected 4"),
        ("a\nb\nc\nc\n", None, r"4 name\(s\): expected 4 different"),
        ("a\nb\nc\nd\n", 5, r"4 name\(s\): expected 5"),
    ],
)
def test_wrong_classes(
    root: Path, names: str | None, num_classes: int | None, sentence: str
) -> None:
    if names:
        (root / "classes.txt").write_text(names)
    with pytest.raises(UserError, match=sentence):
        read_vtab(root, num_classes=num_classes)


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
        read_vtab(root)


def test_train_is_needed(root: Path) -> None:
    (root / LIST_OF_SPLIT["train"]).unlink()
    with pytest.raises(UserError, match=r"cifar has no train800\.txt"):
        read_vtab(root)


def test_cifar(shared: Path) -> None:
    task = read_vtab(shared / "vtab-1k" / "cifar", num_classes=100)
    assert len(task.classes) == 100
    assert {name: len(split) for name, split in task.splits.items()} == {
        "train": 800,
        "val": 200,
        "trainval": 1000,
        "test": 10000,
    }

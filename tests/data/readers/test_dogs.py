import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers import dogs
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.reader import Opening

Plant = Callable[[Mapping[str, int]], Path]

BREEDS = {"n02085620-Chihuahua": 1, "n02099712-Labrador-retriever": 2}
LISTED = {
    split: [(f"{breed}/{i:03d}.jpg", label) for breed, label in BREEDS.items() for i in numbers]
    for split, numbers in (("train", range(10)), ("test", range(10, 14)))
}


@pytest.fixture
def root(plant: Plant) -> Path:
    root = plant({f"Images/{breed}": 14 for breed in BREEDS})
    for name in dogs.LIST_OF_SPLIT.values():
        (root / name).touch()
    return root


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, int]]]:
    """What the MATLAB files hold, to be changed by a test."""
    lists = {split: list(pairs) for split, pairs in LISTED.items()}
    monkeypatch.setattr(dogs, "read_mat_list", lambda path: lists[path.name.split("_")[0]])
    return lists


@pytest.mark.usefixtures("listed")
def test_the_lists_are_the_splits(root: Path) -> None:
    task = open_task(root, Opening(val_fraction=0.1))
    assert (task.layout, task.root) == ("dogs", root / "Images")
    assert task.classes == ("Chihuahua", "Labrador-retriever")
    assert {name: len(split) for name, split in task.splits.items()} == {
        "train": 18,
        "val": 2,
        "test": 8,
    }
    assert task.split("test").paths[0] == root / "Images/n02085620-Chihuahua/010.jpg"
    assert task.split("test").labels == (0,) * 4 + (1,) * 4


def test_wrong_lists(root: Path, listed: dict[str, list[tuple[str, int]]]) -> None:
    listed["test"].append(LISTED["train"][0])
    with pytest.raises(UserError, match="in both train and test"):
        open_task(root)
    listed["test"][-1] = ("n1-Fox/000.jpg", 3)
    with pytest.raises(UserError, match=r"test_list\.mat lists 1 image"):
        open_task(root)
    (root / "test_list.mat").unlink()
    with pytest.raises(UserError, match=r"has no test_list\.mat"):
        open_task(root)


def test_without_scipy(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(UserError, match=r"run pip install 'arcvit\[matlab\]'"):
        open_task(root)


def test_matlab_files(root: Path) -> None:
    numpy = pytest.importorskip("numpy")
    scipy_io = pytest.importorskip("scipy.io")
    for split, name in dogs.LIST_OF_SPLIT.items():
        cells = numpy.empty((len(LISTED[split]), 1), dtype=object)
        cells[:, 0] = [path for path, _ in LISTED[split]]
        labels = numpy.array([[float(label)] for _, label in LISTED[split]])
        scipy_io.savemat(root / name, {"file_list": cells, "labels": labels})
        assert dogs.read_mat_list(root / name) == LISTED[split]
    assert len(open_task(root).split("train")) == 16
    (root / "train_list.mat").write_bytes(b"no mat")
    with pytest.raises(UserError, match=r"train_list\.mat can't be read"):
        open_task(root)

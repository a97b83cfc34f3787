import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.config import DataConfig
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.reader import Opening

Plant = Callable[[Mapping[str, int]], Path]


def test_each_layout_is_recognised(plant: Plant) -> None:
    root = plant({"folders/a": 2, "folders/b": 2, "split/train/a": 2, "split/train/b": 2})
    plant({"vtab": 2, "fgvc": 2, "table": 2})
    (root / "vtab/train800.txt").write_text("000.jpg 0\n001.jpg 1\n")
    (root / "fgvc/train.json").write_text(json.dumps({"000.jpg": 3, "001.jpg": 5}))
    (root / "table/my.csv").write_text("path,label,split\n000.jpg,x,train\n001.jpg,y,train\n")
    layouts = {
        "folders": "folders",
        "split": "folders",
        "vtab": "vtab",
        "fgvc": "fgvc",
        "table/my.csv": "table",
    }
    for name, layout in layouts.items():
        task = open_task(str(root / name))
        assert task.layout == layout
        assert len(task.classes) == 2


def test_settings_reach_the_reader(plant: Plant) -> None:
    root = plant({"a": 10, "b": 10})
    task = open_task(root, Opening(val_fraction=0.5, test_fraction=0.4, seed=3))
    assert {name: len(split) for name, split in task.splits.items()} == {
        "train": 6,
        "val": 6,
        "test": 8,
    }
    assert task != open_task(root, Opening(val_fraction=0.5, test_fraction=0.4, seed=4))


def test_home_is_expanded(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(plant({"task/a": 2, "task/b": 2})))
    assert open_task("~/task").classes == ("a", "b")


def test_a_run_opens_a_task_as_everyone_does() -> None:
    assert DataConfig(path="x").opening() == Opening()


@pytest.mark.parametrize(
    ("counts", "files", "path", "sentence"),
    [
        ({"birds/a": 1}, [], "brids", "brids isn't there: .*Did you mean 'birds'"),
        ({}, [], "no/such/folder", "folder isn't there"),
        ({}, ["a.zip"], "a.zip", "a.zip is in an unknown layout: .* .csv, .tsv, .parquet, .arrow"),
        ({}, ["a.csv", "b.tsv"], ".", "no class folders but table.*: open one of a.csv, b.tsv"),
        ({}, [], ".", "no class folders but 0 image"),
        (
            {"cifar": 1, "svhn": 1},
            ["cifar/train800.txt", "svhn/val200.txt"],
            ".",
            "splits of their own: .* cifar, svhn",
        ),
        ({"CUB": 1}, ["CUB/train.json"], ".", "splits of their own: .* CUB"),
        ({"cat/train": 1, "cat/test": 1, "dog/train": 1}, [], ".", "move the splits outside"),
    ],
)
def test_wrong_paths(
    plant: Plant, counts: dict[str, int], files: list[str], path: str, sentence: str
) -> None:
    root = plant(counts)
    for name in files:
        (root / name).touch()
    with pytest.raises(UserError, match=sentence):
        open_task(root / path)


@pytest.mark.parametrize("setting", ["val_fraction", "test_fraction"])
def test_impossible_fractions(setting: str) -> None:
    with pytest.raises(UserError, match=f"{setting} is 1.5"):
        Opening(**{setting: 1.5})  # type: ignore[arg-type]


def test_a_class_called_train_inside_splits(plant: Plant) -> None:
    root = plant({"train/train": 5, "train/car": 5, "test/train": 1})
    assert open_task(root).classes == ("car", "train")

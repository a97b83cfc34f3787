import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.folders import split_folders
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.reader import Opening
from arcvit.data.task import ImageTask

Plant = Callable[[Mapping[str, int]], Path]


def read(root: Path, **settings: Any) -> ImageTask:
    return open_task(root, Opening(**settings))


def sizes(task: ImageTask) -> dict[str, int]:
    return {name: len(split) for name, split in task.splits.items()}


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders_are_read_as_they_are(plant: Plant, val: str) -> None:
    root = plant({"train/b": 3, "train/a": 2, f"{val}/b": 1, "test/a": 4, "test/b": 1})
    task = read(root)
    assert (task.layout, task.name, task.root) == ("folders", root.name, root)
    assert task.classes == ("a", "b")
    assert sizes(task) == {"train": 5, "val": 1, "test": 5}
    # One map over all splits: 'b' is 1 in val too, though val has no 'a'.
    assert task.split("val").labels == (1,)
    assert task.split("train").labels == (0, 0, 1, 1, 1)
    assert task.split("train").paths == (
        *(root / f"train/a/00{i}.jpg" for i in range(2)),
        *(root / f"train/b/00{i}.jpg" for i in range(3)),
    )


@pytest.mark.parametrize(
    ("counts", "settings", "expected"),
    [
        ({"train/a": 10, "train/b": 5, "test/a": 1}, {}, {"train": 12, "val": 3, "test": 1}),
        ({"train/a": 10, "train/b": 5}, {}, {"train": 12, "val": 3}),
        ({"train/a": 10, "train/b": 5, "val/a": 1}, {}, {"train": 15, "val": 1}),
        ({"train/a": 10, "train/b": 5}, {"val_fraction": 0}, {"train": 15}),
        ({"a": 10, "b": 20}, {}, {"train": 19, "val": 5, "test": 6}),
        ({"a": 10, "b": 20}, {"test_fraction": 0}, {"train": 24, "val": 6}),
        ({"a": 10, "b": 20}, {"val_fraction": 0}, {"train": 24, "test": 6}),
        ({"a": 1, "b": 1}, {}, {"train": 2}),
    ],
)
def test_what_is_held_out(
    plant: Plant, counts: dict[str, int], settings: dict[str, float], expected: dict[str, int]
) -> None:
    task = read(plant(counts), **settings)
    assert sizes(task) == expected
    assert set(task.split("train").labels) == {0, 1}
    paths = [path for split in task.splits.values() for path in split.paths]
    assert len(set(paths)) == len(paths) == sum(counts.values())


def test_the_seed_decides(plant: Plant) -> None:
    root = plant({"a": 30, "b": 30})
    assert read(root, seed=4) == read(root, seed=4)
    assert read(root, seed=4).split("test") != read(root, seed=5).split("test")


def test_the_order_of_the_file_system_does_not_matter(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = plant({"a": 9, "b": 9, "b/inner": 3, "c": 3})
    expected = read(root)
    walk, iterdir = os.walk, Path.iterdir

    def backwards(*args: Any, **settings: Any) -> Iterator[Any]:
        for here, folders, files in walk(*args, **settings):
            folders.reverse()
            yield here, folders, files[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    monkeypatch.setattr(Path, "iterdir", lambda path: reversed(list(iterdir(path))))
    assert read(root) == expected


def test_what_counts_as_an_image(plant: Plant, tmp_path: Path) -> None:
    root = plant({"a": 0, "b": 1})
    good = ["x.JPG", "x.jpeg", "x.PNG", "x.webp", "x.tif", "broken", "x.heic", "deep/er/x.gif"]
    junk = [".hidden.jpg", "Thumbs.db", "desktop.ini", ".DS_Store", "n.txt", "n.MD", "n.json"]
    junk += ["n.csv", ".cache/x.jpg", "__MACOSX/x.jpg"]
    for name in good + junk:
        (root / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "a" / name).touch()
    plant({".git": 1, "__MACOSX": 1})
    (root / "README.md").touch()
    task = read(root, test_fraction=0, val_fraction=0)
    found = [path.relative_to(root / "a").as_posix() for path in task.split("train").paths[:-1]]
    assert found == sorted(good)
    assert task.classes == ("a", "b")


def test_linked_class_folders_and_loops(plant: Plant) -> None:
    root = plant({"task/a": 2, "elsewhere": 3}) / "task"
    os.symlink(root.parent / "elsewhere", root / "b")
    os.symlink(root / "a", root / "a" / "loop")
    task = read(root, test_fraction=0, val_fraction=0)
    assert task.split("train").labels == (0, 0, 1, 1, 1)


def test_split_folders_in_their_own_order(plant: Plant) -> None:
    root = plant({"test/a": 1, "valid/a": 1, "train/a": 1, "docs": 0})
    assert list(split_folders(root).items()) == [
        ("train", root / "train"),
        ("val", root / "valid"),
        ("test", root / "test"),
    ]


def test_a_class_may_be_called_train(plant: Plant) -> None:
    assert read(plant({"train/train": 2, "train/car": 2})).classes == ("car", "train")


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({".": 3}, "has no class folders but 3 image.* and 0 other"),
        ({"train": 3}, "train has no class folders but 3 image"),
        ({"train/a": 1, "train/b": 1, "test": 2}, "test has no class folders but 2 image"),
        ({"train/a": 1, "train/b": 1, "test/a": 0}, "test has no images"),
        ({"train/a": 1, "train/b": 0}, "1 .*no image in train.*'b'"),
        ({"train/a": 1, "train/b": 1, "test/c": 1}, "1 .*no image in train.*'c'"),
        ({"a": 1, "b": 0}, "no image in train.*'b'"),
        ({"a": 1}, "at least 2, found only 'a'"),
        ({"images/a": 1, "images/b": 1}, "'images' alone, .* open .*images if those"),
        ({"train/a": 1}, "at least 2, found only 'a'"),
        ({"test/a": 1, "test/b": 1}, "the split folder.* test but no 'train'"),
        ({"val/a": 1, "test/b": 1}, "the split folder.* test, val but no 'train'"),
        ({"train/a": 1, "val/a": 1, "valid/a": 1}, "two folders for the val split, 'val' and"),
        ({"training/a": 1, "testing/a": 1}, "look like splits, 'testing', 'training'"),
        ({"train/a": 1, "train/b": 1, "dev/a": 1}, "look like splits, 'dev'"),
    ],
)
def test_wrong_layouts(plant: Plant, counts: dict[str, int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read(plant(counts))


def test_a_folder_that_can_not_be_listed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant({"a": 1, "b": 1, "b/closed": 1})
    scandir = os.scandir

    def refuse(folder: str) -> object:
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="closed can't be listed: Permission denied"):
        read(root)

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.folders import split_folders
from arcvit.data.readers.layouts import open_task, read_task
from arcvit.data.readers.reader import Opening
from arcvit.data.task import ImageTask

Plant = Callable[[Mapping[str, int]], Path]


def read(root: Path, **settings: Any) -> ImageTask:
    return open_task(root, Opening(**settings))


def sizes(task: ImageTask) -> dict[str, int]:
    return {name: len(split) for name, split in task.splits.items()}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Train", "valid", "Testing"),
        ("training", "validation", "test_set"),
        ("training_set", "Validate", "test-images"),
        ("train data", "dev", "TestSet"),
        ("train_split", "dev_set", "testdata"),
    ],
)
def test_split_folders_are_read_as_they_are(plant: Plant, train: str, val: str, test: str) -> None:
    root = plant({f"{train}/b": 3, f"{train}/a": 2, f"{val}/b": 1, f"{test}/a": 4, f"{test}/b": 1})
    task = read(root)
    assert (task.layout, task.name, task.root) == ("folders", root.name, root)
    assert task.classes == ("a", "b")
    assert sizes(task) == {"train": 5, "val": 1, "test": 5}
    # One map over all splits: 'b' is 1 in val too, though val has no 'a'.
    assert task.split("val").labels == (1,)
    assert task.split("train").labels == (0, 0, 1, 1, 1)
    assert task.split("train").paths == (
        *(root / f"{train}/a/00{i}.jpg" for i in range(2)),
        *(root / f"{train}/b/00{i}.jpg" for i in range(3)),
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
        ({"a": 1, "b": 1}, {"test_fraction": 0, "val_fraction": 0}, {"train": 2}),
        ({"a": 1, "b": 5}, {}, {"train": 4, "val": 1, "test": 1}),
        ({"train/a": 1, "train/b": 1, "test/a": 3}, {}, {"train": 2, "test": 3}),
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
        ({"train/a": 1, "train/b": 1, "test": 2}, "or leave it out with --data.ignore 'test'"),
        ({"val/a": 1, "test/b": 1}, "the split folder.* val, test but no 'train'"),
        ({"train": 2, "bus": 2}, "if 'train' is a class, put all class folders into .* 'train'"),
        ({"valid": 2, "invalid": 2}, "no 'train'.*; if 'valid' is a class, put all"),
        ({"dev": 2, "live": 2}, "if 'dev' is a class"),
        ({"a": 1, "b": 1}, "one image of each of its 2 classes, .* right column or level"),
        ({"Owl": 2, "owl": 2}, "differ in case or spaces alone.*: 'Owl' = 'owl'"),
        ({"sea gull": 2, "seagull ": 2}, "'sea gull' = 'seagull '"),
        ({"gull": 2, "gull\u200b": 2}, r"'gull' = 'gull\\u200b'"),
        ({"1": 2, "01": 2, "1.0": 2, "1.1": 2}, "the same number.*: '01' = '1' = '1.0'[.]"),
        ({"train/a": 1, "train/b": 1, "val/A": 1}, "'A' = 'a'|no image in train"),
        ({"train/a": 1, "val/a": 1, "valid/a": 1}, "two folders for the val split, 'val' and"),
        ({"trainval/a": 1, "eval/a": 1}, "look like splits, 'eval', 'trainval'"),
        ({"train/a": 1, "train/b": 1, "eval/a": 1}, "look like splits, 'eval'"),
    ],
)
def test_wrong_layouts(plant: Plant, counts: dict[str, int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read(plant(counts))


@pytest.mark.parametrize(
    ("counts", "named", "globs"),
    [
        ({"bus": 3, "car": 2}, ["bus/ (3)", "car/ (2)"], ["bus", "car"]),
        ({"docs/figures": 2}, ["docs/ (2)"], ["docs/**"]),
        ({"test_2": 2, "holdout2": 0}, ["test_2/ (2)"], ["test_?"]),
        ({".": 1}, ["000.jpg"], ["*.jpg"]),
        ({"train": 1}, ["train/000.jpg"], ["train/000.jpg"]),
    ],
)
def test_images_beside_what_is_read_are_refused(
    plant: Plant, counts: dict[str, int], named: list[str], globs: list[str]
) -> None:
    root = plant({"train/a": 5, "train/b": 5, **counts})
    with pytest.raises(UserError, match="has images that aren't read, beside") as caught:
        read(root)
    assert all(name in str(caught.value) for name in named)
    assert "--data.ignore" in str(caught.value)
    if globs != ["*.jpg"]:  # it stands for all images, wherever they are
        assert read(root, ignore=globs).classes == ("a", "b")


def test_class_folders_and_files_can_be_ignored(plant: Plant) -> None:
    root = plant({"a": 5, "b": 5, "scraps": 2})
    task = read(root, ignore=["scraps", "a/000.jpg"], test_fraction=0, val_fraction=0)
    assert task.classes == ("a", "b")
    assert sizes(task) == {"train": 9}


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"site1/down": 2, "site1/across": 2, "site2/down": 2, "site2/across": 2}, True),
        ({"train/animal/cat": 2, "train/animal/dog": 2, "train/car/van": 2}, True),
        ({"cat/images": 2, "dog/images": 2}, False),  # as Tiny ImageNet has them
        ({"cat": 2, "cat/more": 2, "dog/one": 2, "dog/two": 2}, False),
    ],
)
def test_two_levels_that_could_be_classes(plant: Plant, counts: dict[str, int], told: bool) -> None:
    findings = read_task(plant(counts), Opening()).findings
    assert ("two-levels" in [finding.kind for finding in findings]) is told


def test_names_composed_in_two_ways_are_one_class(plant: Plant) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    root = plant({f"train/{composed}": 5, "train/tea": 5, f"test/{apart}": 2, "test/tea": 2})
    task = read(root)
    assert task.classes == (composed, "tea")
    assert sizes(task)["test"] == 4


def test_a_class_that_is_not_utf8_is_refused(plant: Plant) -> None:
    root = plant({"tea": 3})
    os.makedirs(os.fsencode(root) + b"/caf\xe9")
    for index in range(3):
        Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9/%d.jpg" % index)).touch()
    with pytest.raises(UserError, match=r"names aren't UTF-8, rename them: caf\\xe9"):
        read(root)


def test_files_that_are_not_utf8_are_read(plant: Plant) -> None:
    root = plant({"tea": 3, "milk": 3})
    name = os.fsdecode(os.fsencode(root) + b"/tea/\xe9.jpg")
    Path(name).touch()
    paths = read(root, test_fraction=0, val_fraction=0).split("train").paths
    assert Path(name) in paths


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

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.check.report import check_task
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.reader import Opening

Plant = Callable[[Mapping[str, int]], Path]

# Class numbers with a gap and inner nodes, as NABirds has them; ids as NABirds writes them.
CLASSES = {"2": "002.Loon", "7": "007.Gull"}


@pytest.fixture
def root(plant: Plant) -> Path:
    root = plant({"images/2": 13, "images/7": 13})
    images, labels, split = [], [], []
    for class_id in CLASSES:
        for index in range(13):
            key = f"0000139e-21dc-{class_id}{index:03d}"
            images.append(f"{key} {class_id}/{index:03d}.jpg")
            labels.append(f"{key} {class_id}")
            split.append(f"{key} {int(index < 10)}")
    (root / "images.txt").write_text("\n".join(images) + "\n")
    (root / "image_class_labels.txt").write_text("\n".join(labels))
    (root / "train_test_split.txt").write_text("\n".join(split))
    (root / "classes.txt").write_text("0 Birds\n2 002.Loon\n7 007.Gull\n")
    return root


def test_the_lists_are_the_splits(root: Path) -> None:
    task = open_task(root, Opening(val_fraction=0.1))
    assert (task.layout, task.root) == ("cub", root / "images")
    assert task.classes == tuple(CLASSES.values())
    assert {name: len(split) for name, split in task.splits.items()} == {
        "train": 18,
        "val": 2,
        "test": 6,
    }
    assert task.split("val").labels == (0, 1)
    assert task.split("test").paths[0] == root / "images/2/010.jpg"


def test_without_names(root: Path) -> None:
    (root / "classes.txt").unlink()
    assert open_task(root).classes == ("2", "7")
    (root / "classes.txt").write_text("2 Gull\n7 Gull\n")
    assert open_task(root).classes == ("2", "7")


def test_cub_itself_is_recognised(root: Path) -> None:
    report = check_task(root.rename(root.with_name("CUB_200_2011")))
    assert (report.layout, report.benchmark, report.preset) == ("cub", "CUB_200_2011", "fgvc")
    texts = " ".join(finding.text for finding in report.findings)
    assert "THE TEST SPLIT HAS 6 IMAGES, CUB_200_2011 has 5,794" in texts
    assert "trainval has 20 images, CUB_200_2011 has 5,994" in texts
    assert "there are 2 classes, CUB_200_2011 has 200" in texts
    assert "2 as val are held out of the training images" in texts


def test_one_missing_photo_leaves_the_layout_known(root: Path) -> None:
    next((root / "images").rglob("*.jpg")).unlink()
    report = check_task(root)
    assert (report.layout, report.preset, report.spoilt) == ("cub", "fgvc", True)
    assert "lists 1 image(s) that are not there" in report.findings[0].text


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("images.txt", None, None, r"has no images\.txt"),
        ("classes.txt", "7 ", "seven ", "has the class 'seven': expected '<number> <name>'"),
        ("image_class_labels.txt", None, None, r"has no image_class_labels\.txt"),
        (
            "image_class_labels.txt",
            "2002 2\n",
            "2002\n",
            "line 3 is .*: expected an id and a value",
        ),
        ("image_class_labels.txt", "2002 2\n", "", "lacks 2 image"),
        (
            "image_class_labels.txt",
            "2002 2\n",
            "2002 x\n",
            "the value 'x': expected a class number",
        ),
        ("train_test_split.txt", "2002 1", "2002 2", "the value '2': expected 1 for train"),
        ("train_test_split.txt", "2002 1", "2001 1", "line 3 repeats"),
        ("images.txt", "2/002.jpg", "2/900.jpg", r"lists 1 image\(s\) that are not there"),
    ],
)
def test_wrong_lists(
    root: Path, name: str, old: str | None, new: str | None, sentence: str
) -> None:
    file = root / name
    if old is None or new is None:
        file.unlink()
    else:
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
    with pytest.raises(UserError, match=sentence):
        open_task(root)


def test_no_test_images(root: Path) -> None:
    file = root / "train_test_split.txt"
    file.write_text(file.read_text().replace(" 0\n", " 1\n").removesuffix("0") + "1")
    with pytest.raises(UserError, match="has no image for the test"):
        open_task(root)

"""What a check says of made tasks that are sound, odd or a benchmark's."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcvit.core.errors import UserError
from arcvit.data.catalogue import find_task
from arcvit.data.check.report import TaskReport, check_task
from arcvit.data.config import DataConfig
from arcvit.recipe.look import look_through

COUNTS = {"train": 9, "val": 3, "test": 6}


def kinds(report: TaskReport, severity: str) -> list[str]:
    return [finding.kind for finding in report.findings if finding.severity == severity]


def text(report: TaskReport) -> str:
    return " ".join(finding.text for finding in report.findings)


def edit(file: Path, old: str, new: str) -> None:
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new, 1))


@pytest.mark.parametrize("layout", ["vtab", "fgvc", "folders"])
def test_a_sound_task(layout: str, request: pytest.FixtureRequest) -> None:
    report = check_task(request.getfixturevalue(layout))
    assert (report.layout, report.benchmark, report.classes) == (layout, None, 3)
    assert report.findings == ()
    assert not report.spoilt
    assert report.preset == {"folders": "model"}.get(layout, layout)
    images = {split: found.images for split, found in report.splits.items()}
    images.pop("trainval", None)
    assert images == COUNTS
    assert set(report.formats) == {"PNG"}
    assert set(report.sizes) == {"32x32"}
    assert json.loads(json.dumps(report.to_dict()))["spoilt"] is False


def test_a_path_from_home(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell expands it in a recipe, nor in --data.path=~/photos."""
    monkeypatch.setenv("HOME", str(folders.parent))
    said: list[str] = []
    assert look_through(DataConfig(path=f"~/{folders.name}"), said.append) == []


def test_a_known_task_is_held_against_the_catalogue(vtab: Path) -> None:
    cifar = vtab.rename(vtab.with_name("cifar100"))
    report = check_task(cifar)
    assert report.benchmark == "cifar"
    assert report.splits["test"].expected == 10_000
    assert "THE TEST SPLIT HAS 6 IMAGES, cifar has 10,000" in text(report)
    assert kinds(report, "warning").count("split-size") == 3
    assert "class-coverage" not in kinds(report, "spoils")
    # classes.txt names 3 classes where the task has 100.
    assert not report.spoilt


@pytest.mark.parametrize(("label", "said"), [("99", False), ("100", True)])
def test_labels_of_a_known_task(vtab: Path, label: str, said: bool) -> None:
    (vtab / "classes.txt").unlink()
    edit(vtab / "test.txt", "000003.png 0", f"000003.png {label}")
    report = check_task(vtab, benchmark=find_task("cifar"))
    assert ("label-range" in kinds(report, "spoils")) is said
    assert ("such as 100: 100 classes have the labels 0 to 99" in text(report)) is said


def test_labels_that_count_from_one(vtab: Path) -> None:
    (vtab / "classes.txt").unlink()
    for name in ("train800", "val200", "train800val200", "test"):
        lines = (vtab / f"{name}.txt").read_text().splitlines()
        moved = [f"{line.split()[0]} {int(line.split()[1]) + 1}\n" for line in lines]
        (vtab / f"{name}.txt").write_text("".join(moved))
    report = check_task(vtab, benchmark=find_task("kitti"))
    assert "classes have no image in train: 0" in text(report)
    assert not report.spoilt
    edit(vtab / "test.txt", "000003.png 1", "000003.png 4")
    assert "labels count from 1" in text(check_task(vtab, benchmark=find_task("kitti")))


def test_jpeg_of_a_lossless_source(vtab: Path) -> None:
    for path in (vtab / "images").rglob("*.png"):
        Image.open(path).save(path.with_suffix(".jpg"))
    for path in vtab.glob("*[0t].txt"):
        path.write_text(path.read_text().replace(".png", ".jpg"))
    report = check_task(vtab)
    assert kinds(report, "warning") == ["lossy"]
    assert "30 images of at most 32 pixels a side are JPEG" in text(report)
    report = check_task(vtab, benchmark=find_task("svhn"))
    assert "30 of 30 images are JPEG, but svhn's source is lossless" in text(report)


def test_images_that_were_resized(vtab: Path) -> None:
    report = check_task(vtab, benchmark=find_task("eurosat"))
    assert "30 images are not 64x64 pixels as eurosat's source, but 32x32" in text(report)


def test_the_same_image_with_two_labels(folders: Path) -> None:
    shutil.copy(folders / "train/a/0.png", folders / "train/b/twin.png")
    report = check_task(folders)
    assert kinds(report, "warning") == ["conflicting-labels"]
    assert not report.spoilt


def test_train_image_in_val_is_a_warning(folders: Path) -> None:
    shutil.copy(folders / "train/a/0.png", folders / "val/a/twin.png")
    report = check_task(folders)
    assert kinds(report, "warning") == ["overlap-val"]
    assert not report.spoilt


@pytest.mark.parametrize(
    ("layout", "lacking", "sentence"),
    [
        ("vtab", "test.txt", "test.txt is not there: there is no test split"),
        ("vtab", "val200.txt", "val200.txt is not there: there is no val split"),
        ("fgvc", "test.json", "test.json is not there: there is no test split"),
        ("folders", "test", "there is no folder 'test': there is no test split"),
    ],
)
def test_a_split_that_is_absent_spoils_a_bench_alone(
    layout: str, lacking: str, sentence: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(layout)
    (root / lacking).rename(root.parent / "away")
    report = check_task(root)
    assert "absent-split" in kinds(report, "warning")
    assert sentence in text(report)
    with pytest.raises(UserError, match=sentence):
        look_through(DataConfig(path=str(root)), print, needs_splits=True)
    if lacking != "val200.txt":  # without it trainval can't be held against its parts
        assert not report.spoilt


@pytest.mark.parametrize(
    ("fractions", "said"),
    [
        ({}, "no split folders: 2 as test and 2 as val are held out"),
        ({"val_fraction": 0.0}, "no split folders: 2 as test are held out"),
        ({"val_fraction": 0.0, "test_fraction": 0.0}, None),
    ],
)
def test_what_is_held_out_is_counted(
    tmp_path: Path, fractions: dict[str, float], said: str | None
) -> None:
    draws = np.random.default_rng(0)
    for index in range(8):
        (tmp_path / "ab"[index % 2]).mkdir(exist_ok=True)
        pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "ab"[index % 2] / f"{index}.png")
    report = check_task(tmp_path, data=fractions)
    assert ("held out" in text(report)) is (said is not None)
    assert said is None or said in text(report)
    for split in ("val", "test"):
        assert (f"there is no {split} split" in text(report)) is (split not in report.splits)


@pytest.mark.parametrize("layout", ["fgvc", "folders"])
def test_a_validation_split_that_is_held_out(layout: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(layout)
    shutil.rmtree(root / "val", ignore_errors=True)
    (root / "val.json").unlink(missing_ok=True)
    report = check_task(root)
    assert not report.spoilt
    assert report.splits["val"].held_out
    assert "held-out" in kinds(report, "warning")


def test_a_class_without_validation_images_is_a_warning(folders: Path) -> None:
    shutil.rmtree(folders / "val/b")
    report = check_task(folders)
    assert not report.spoilt
    assert "1 of 3 classes have no image in val: b" in text(report)


def test_progress_reaches_the_end(vtab: Path) -> None:
    seen: list[tuple[int, int]] = []
    check_task(vtab, start=lambda total: lambda done: seen.append((done, total)))
    assert seen[-1] == (30, 30)


def test_a_multilabel_task(tmp_path: Path) -> None:
    labels = ["sea|sky|sun", "sea|sky|sun", "sea|sky", "sea|sky", "sea|sky|fog"]
    rows = [("train", label) for label in labels] + [("val", "sea|sky|sun"), ("val", "sea|fog|sky")]
    lines = ["path,label,split"]
    for index, (split, label) in enumerate([*rows, ("test", ""), ("test", "sun")]):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        lines.append(f"{index}.png,{label},{split}")
    table = tmp_path / "photos.csv"
    table.write_text("\n".join(lines))
    report = check_task(table, kind="multilabel")
    assert (report.kind, report.layout, report.spoilt) == ("multilabel", "table", False)
    assert report.class_counts["sun"] == {"train": 2, "val": 1, "test": 1}
    assert (report.splits["test"].unlabelled, report.splits["test"].classes) == (1, 1)
    for part in (
        "every training image is of 'sea', 'sky', so that",
        "always come together, 'sea' and 'sky': nothing tells them apart",
        "has 2.60 of 4 labels on average, 3 at most, in 3 combinations",
        "4 of 4 classes have fewer than 5 images in val, by which",
        "3 of 4 classes have no image in test: fog, sea, sky",
    ):
        assert part in text(report)
    # The same photo twice in train, with other labels; and most of train without any.
    shutil.copy(tmp_path / "0.png", tmp_path / "4.png")
    table.write_text(
        table.read_text().replace("sea|sky,", ",").replace("1.png,sea|sky|sun", "1.png,")
    )
    found = check_task(table, kind="multilabel")
    assert "1 image(s) of train are there twice with different labels" in text(found)
    assert "3 of 5 training images have no label (1.png, 2.png, 3.png)" in text(found)
    assert {"unlabelled", "conflicting-labels"} <= {*kinds(found, "warning")}
    assert "majority" not in {*kinds(found, "warning")}


def test_cells_that_nobody_split(folders: Path) -> None:
    rows = [("a/0", "sea sky"), ("a/1", "sea"), ("b/0", "sea sky"), ("b/1", "sea")]
    lines = [f"train/{image}.png,{label},train" for image, label in rows]
    (folders / "photos.csv").write_text("\n".join(["path,label,split", *lines]))
    report = check_task(folders / "photos.csv", kind="multilabel")
    assert "one-label" in kinds(report, "warning")
    report = check_task(folders / "photos.csv", kind="multilabel", data={"label_delimiter": " "})
    assert "one-label" not in kinds(report, "warning")


def test_an_image_of_a_folder_has_one_label(folders: Path) -> None:
    report = check_task(folders, kind="multilabel")
    assert kinds(report, "spoils") == ["unreadable-task"]
    assert "gives each image one label, its layout is folders" in text(report)

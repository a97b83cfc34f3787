"""Made tasks in three layouts, damaged in every way that a check has to see."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcvit.data.check.report import TaskReport, check_task


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def kinds(report: TaskReport, severity: str) -> list[str]:
    return [finding.kind for finding in report.findings if finding.severity == severity]


def text(report: TaskReport) -> str:
    return " ".join(finding.text for finding in report.findings)


def edit(file: Path, old: str, new: str) -> None:
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new, 1))


def change_json(file: Path, change: Callable[[dict[str, int]], object]) -> None:
    listed = json.loads(file.read_text())
    change(listed)
    file.write_text(json.dumps(listed))


VTAB_DAMAGE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing image": (
        lambda root: (root / "images/test/000002.png").unlink(),
        "missing-files",
        "test lists 1 .* images/test/000002.png",
    ),
    "broken image": (
        lambda root: (root / "images/val200/000001.png").write_bytes(b"\x89PNG\r\n\x1a\nno"),
        "unreadable-files",
        "val has 1 file.* images/val200/000001.png",
    ),
    "cut off image": (
        lambda root: (root / "images/train800/000000.png").write_bytes(
            (root / "images/train800/000000.png").read_bytes()[:1000]
        ),
        "unreadable-files",
        "train has 1 file",
    ),
    "empty image": (
        lambda root: (root / "images/train800/000000.png").write_bytes(b""),
        "unreadable-files",
        "empty file",
    ),
    "label out of range": (
        lambda root: edit(root / "test.txt", "000003.png 0", "000003.png 7"),
        "class-names",
        r"classes.txt has 3 name\(s\): expected 8",
    ),
    "label out of range without names": (
        lambda root: (
            (root / "classes.txt").unlink(),
            edit(root / "test.txt", "000003.png 0", "000003.png 70"),
        ),
        "sparse-labels",
        "the label 70 but only 4 different labels",
    ),
    "repeated line": (
        lambda root: (root / "train800.txt").write_text(
            (root / "train800.txt").read_text() + "images/train800/000000.png 0\n"
        ),
        "repeated-lines",
        "train800.txt lists images/train800/000000.png in lines 1 and 10",
    ),
    "malformed line": (
        lambda root: edit(root / "val200.txt", "000001.png 1", "000001.png one"),
        "malformed-list",
        "val200.txt line 2 is",
    ),
    "a list in another encoding": (
        lambda root: (root / "test.txt").write_bytes("ä.png 0\n".encode("utf-16")),
        "malformed-list",
        "UTF-8",
    ),
    "test image in train": (
        lambda root: [
            shutil.copy(root / "images/test/000000.png", root / f"images/{name}/000000.png")
            for name in ("train800", "train800val200")
        ],
        "overlap",
        "1 image.* of train are in test too.* images/train800/000000.png = images/test/000000.png",
    ),
    "test image in val, saved anew": (
        lambda root: [
            Image.open(root / "images/test/000000.png").save(
                root / f"images/{name}.png", compress_level=1
            )
            for name in ("val200/000000", "train800val200/000009")
        ],
        "overlap",
        "of val are in test too",
    ),
    "trainval of something else": (
        lambda root: picture(999).save(root / "images/train800val200/000004.png"),
        "union",
        "1 of their images .* 1 in it",
    ),
    "trainval with other labels": (
        lambda root: edit(root / "train800val200.txt", "000004.png 1", "000004.png 2"),
        "union",
        "not train and val together",
    ),
    "trainval too short": (
        lambda root: (root / "train800val200.txt").write_text(
            "".join((root / "train800val200.txt").read_text().splitlines(keepends=True)[:9])
        ),
        "union",
        "3 of their images .* 0 in it",
    ),
    "test in trainval alone": (
        lambda root: shutil.copy(
            root / "images/test/000001.png", root / "images/train800val200/000000.png"
        ),
        "overlap",
        "of trainval are in test too",
    ),
    "a stray label of many digits": (
        lambda root: edit(root / "test.txt", "000001.png 1", "000001.png 99999999"),
        "sparse-labels",
        "the label 99999999 but",
    ),
    "a label too long for a number": (
        lambda root: edit(root / "test.txt", "000001.png 1", f"000001.png {'9' * 5000}"),
        "malformed-list",
        "expected '<image> <label>' with a whole number",
    ),
    "empty list": (
        lambda root: (root / "test.txt").write_text(""),
        "malformed-list",
        "test.txt is empty",
    ),
    "val and test mixed up": (
        lambda root: (root / "test.txt").write_text((root / "val200.txt").read_text()),
        "overlap",
        "3 image.* of val are in test too",
    ),
}


@pytest.mark.parametrize("damage", VTAB_DAMAGE)
def test_damaged_vtab(vtab: Path, damage: str) -> None:
    harm, kind, sentence = VTAB_DAMAGE[damage]
    harm(vtab)
    check_that(vtab, kind, sentence)


FGVC_DAMAGE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing image": (
        lambda root: (root / "images/test_2.png").unlink(),
        "missing-files",
        "test lists 1 .*: test_2.png",
    ),
    "missing first image": (
        lambda root: (root / "images/train_0.png").unlink(),
        "missing-files",
        "train lists 1 image.*: train_0.png",
    ),
    "broken image": (
        lambda root: (root / "images/val_0.png").write_text("no image"),
        "unreadable-files",
        "val has 1 file",
    ),
    "class without train images": (
        lambda root: change_json(root / "test.json", lambda d: d.update({"test_0.png": 900})),
        "class-coverage",
        "1 of 4 classes have no image in train: 900",
    ),
    "class that is no number": (
        lambda root: edit(root / "test.json", ": 15", ': "15"'),
        "malformed-list",
        "gives 'test_1.png' the class '15'",
    ),
    "repeated image": (
        lambda root: edit(root / "train.json", '"train_1.png"', '"train_0.png"'),
        "repeated-lines",
        "lists 'train_0.png' twice",
    ),
    "no JSON": (
        lambda root: (root / "test.json").write_text("{"),
        "malformed-list",
        "can't be read as JSON",
    ),
    "test image in train": (
        lambda root: shutil.copy(root / "images/test_0.png", root / "images/train_0.png"),
        "overlap",
        "train_0.png = test_0.png",
    ),
    "the same image in train and test": (
        lambda root: change_json(root / "train.json", lambda d: d.update({"test_0.png": 5})),
        "overlap",
        "of train are in test too",
    ),
}


@pytest.mark.parametrize("damage", FGVC_DAMAGE)
def test_damaged_fgvc(fgvc: Path, damage: str) -> None:
    harm, kind, sentence = FGVC_DAMAGE[damage]
    harm(fgvc)
    check_that(fgvc, kind, sentence)


FOLDER_DAMAGE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "broken image": (
        lambda root: (root / "test/a/0.png").write_bytes(b"GIF89a"),
        "unreadable-files",
        "test has 1 file",
    ),
    "test image in train": (
        lambda root: shutil.copy(root / "test/b/1.png", root / "train/b/new.png"),
        "overlap",
        "train/b/new.png = test/b/1.png",
    ),
    "test image in val as another format": (
        lambda root: Image.open(root / "test/b/1.png").save(root / "val/b/new.bmp"),
        "overlap",
        "val/b/new.bmp = test/b/1.png",
    ),
    "class without train images": (
        lambda root: shutil.rmtree(root / "train/c"),
        "class-coverage",
        "1 of 3 classes have no image in train: c",
    ),
    "no train folder": (
        lambda root: (root / "train").rename(root / "images"),
        "unreadable-task",
        "no 'train'",
    ),
    "empty split": (
        lambda root: [path.unlink() for path in (root / "val").rglob("*.png")],
        "absent-split",
        "val has no images: add some or remove the folder",
    ),
    "splits that have other names": (
        lambda root: (root / "val").rename(root / "eval"),
        "unreadable-task",
        "look like splits",
    ),
}


@pytest.mark.parametrize("damage", FOLDER_DAMAGE)
def test_damaged_folders(folders: Path, damage: str) -> None:
    harm, kind, sentence = FOLDER_DAMAGE[damage]
    harm(folders)
    check_that(folders, kind, sentence)


def check_that(root: Path, kind: str, sentence: str) -> None:
    report = check_task(root)
    assert report.spoilt
    assert kind in kinds(report, "spoils")
    assert re.search(sentence, text(report)), text(report)


def test_all_damage_is_told_at_once(vtab: Path) -> None:
    for damage in ("missing image", "empty image", "repeated line", "malformed line"):
        VTAB_DAMAGE[damage][0](vtab)
    assert {"missing-files", "unreadable-files", "repeated-lines", "malformed-list"} <= set(
        kinds(check_task(vtab), "spoils")
    )


def test_a_table_is_read_to_the_end(folders: Path) -> None:
    files = sorted(folders.rglob("*.png"))
    rows = [f"{file},{file.parent.name},{file.parents[1].name}" for file in files]
    rows += [rows[0], "gone.png,a,test", "no label,,train", "x.png,a,trian"]
    table = folders / "images.csv"
    table.write_text("\n".join(["path,label,split", *rows]))
    report = check_task(table)
    assert kinds(report, "spoils") == ["malformed-list", "repeated-lines", "missing-files"]
    for part in ("line 22 has an empty 'label'", "line 23 has the split 'trian'", "gone.png"):
        assert part in text(report)
    assert report.splits["train"].images == 9

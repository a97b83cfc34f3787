"""``arcvit data``: exit codes, tables and JSON."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Arcvit = Callable[..., object]
Paint = Callable[..., Path]


@pytest.fixture
def sprites(arcvit: Arcvit, tmp_path: Path) -> Path:
    answer = arcvit("data", "make", "sprites", "--out", tmp_path / "made", "--test_size=200")
    assert answer.code == 0
    assert "sprites_loc: 800 train, 200 val, 200 test, 1,000 trainval" in answer.out
    assert "not the images of dSprites" in answer.out
    return tmp_path / "made"


@pytest.mark.slow
def test_what_was_made_is_sound(arcvit: Arcvit, sprites: Path) -> None:
    answer = arcvit("data", "check", sprites, "--json")
    assert answer.code == 0
    reports = json.loads(answer.out)
    assert [report["name"] for report in reports] == ["sprites_loc", "sprites_ori"]
    for report in reports:
        assert report["findings"] == []
        assert report["layout"] == report["preset"] == "vtab"
        assert report["splits"]["test"]["images"] == 200
        assert report["sizes"] == {"64x64": 2200}


def test_check_prints_a_table(arcvit: Arcvit, photos: Path) -> None:
    answer = arcvit("data", "check", photos)
    assert answer.code == 0
    for part in ("layout", "folders", "104 PNG", "24x24", "train", "48", "fine"):
        assert part in answer.out


def test_check_of_a_spoilt_task(arcvit: Arcvit, photos: Path, tmp_path: Path) -> None:
    root = shutil.copytree(photos, tmp_path / "spoilt")
    shutil.copy(root / "test/red/red_00.png", root / "train/red/stolen.png")
    answer = arcvit("data", "check", root)
    assert answer.code == 1
    assert "spoils [overlap] 1 image(s) of train are in test too" in answer.out
    assert "1 thing(s) would spoil a result" in answer.out
    assert answer.err == ""


def test_check_of_a_folder_of_tasks(arcvit: Arcvit, photos: Path, tmp_path: Path) -> None:
    for name in ("mine", "cifar100"):
        shutil.copytree(photos, tmp_path / "tasks" / name)
    (tmp_path / "tasks/cifar100/train800.txt").write_text("train/red/red_00.png 0\n")
    answer = arcvit("data", "check", tmp_path / "tasks")
    assert answer.code == 1
    assert "1 of the 19 tasks of vtab are in" in answer.out
    assert "oxford_iiit_pet (oxford_pet, pets, pet)" in answer.out
    one = arcvit("data", "check", tmp_path / "tasks", "--benchmark=mine")
    assert one.code == 0
    assert "cifar100" not in one.out
    by_alias = arcvit("data", "check", tmp_path / "tasks", "--benchmark=cifar", "--json")
    assert [report["benchmark"] for report in json.loads(by_alias.out)] == ["cifar"]


@pytest.mark.slow
def test_check_of_two_folders_for_one_task(arcvit: Arcvit, sprites: Path, tmp_path: Path) -> None:
    for name in ("cifar", "cifar100"):
        shutil.copytree(sprites / "sprites_loc", tmp_path / name)
    answer = arcvit("data", "check", tmp_path)
    assert answer.code == 1
    assert answer.out.count("layout") == 2
    assert "two folders for cifar" in answer.out


def test_check_of_a_table_with_columns_of_its_own(
    arcvit: Arcvit, photos: Path, tmp_path: Path
) -> None:
    files = sorted(photos.rglob("*.png"))
    lines = [f"{file},{file.parent.name},{file.parents[1].name}" for file in files]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["file,kind,part", *lines]))
    assert arcvit("data", "check", table).code == 1
    named = ["--data.path_column=file", "--data.label_column", "kind", "--data.split_column=part"]
    answer = arcvit("data", "check", table, *named)
    assert answer.code == 0
    assert "table" in answer.out


def test_check_as_a_benchmark_task(arcvit: Arcvit, photos: Path) -> None:
    answer = arcvit("data", "check", photos, "--benchmark=cars")
    assert answer.code == 0
    assert "THE TEST SPLIT HAS 32 IMAGES, StanfordCars has 8,041" in answer.out
    assert "preset     fgvc" in answer.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["chek"], "no command 'data chek': expected check, suspects, next, list, make"),
        (["check"], "the following arguments are required: PATH"),
        (["check", "nowhere"], "nowhere isn't there: expected a folder or a table of images"),
        (["check", ".", "--benchmark=cifer"], "Did you mean 'cifar'"),
        (["check", ".", "--task=cifar"], "invalid choice: 'cifar'"),
        (["check", ".", "--data.path=x"], "--data.path isn't expected here"),
        (
            ["check", ".", "--data.chek=x"],
            "there is no flag '--data.chek'. Did you mean 'data.check'",
        ),
        (["check", ".", "--data.orientation"], "--data.orientation has no value after it"),
        (["check", ".", "--data.orientation=up"], "one of preset, stored, upright"),
        (["list", "--suite=vtb"], "invalid choice: 'vtb'"),
        (["make", "sprites"], "the following arguments are required: --out"),
        (["make", "sprites", "--out=x", "--test_size=0"], "the test size is 0"),
        (["make", "sprites", "--out=x", "--seed=-1"], "the seed is -1"),
        (["prepare", "vtab", "kitti", "--source=.", "--out=x"], "kitti can't be prepared"),
        (["prepare", "vtab", "svhn", "--out=x"], "arguments are required: --source"),
        (["prepare", "vtab", "svhn", "--source=.", "--out=x", "--copy"], "--copy is for fgvc"),
        (["prepare", "fgvc", "cub", "--source=.", "--out=x"], ". has no images.txt or"),
        (["prepare", "fgvc", "cubs", "--source=.", "--out=x"], "Did you mean 'cub'"),
        (["make", "spirits", "--out=x"], "invalid choice: 'spirits'"),
    ],
)
def test_wrong_commands(
    arcvit: Arcvit,
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = arcvit("data", *arguments)
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_catalogue(arcvit: Arcvit) -> None:
    answer = arcvit("data", "list")
    assert answer.code == 0
    for part in ("cifar100", "10,000", "StanfordCars", "vtab, structured"):
        assert part in answer.out
    tasks = json.loads(arcvit("data", "list", "--suite=fgvc", "--json").out)
    assert [task["classes"] for task in tasks] == [200, 555, 102, 120, 196]
    assert tasks[0]["origin"]["download_bytes"] == 1_150_585_339


def test_where_the_tasks_come_from(arcvit: Arcvit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = arcvit("data", "list", "--suite=fgvc").out
    assert "NABirds: NABirds, 48,562 images, size" in out
    # A page stays in one piece however narrow the terminal is.
    assert "  https://www.vision.caltech.edu/datasets/cub_200_2011/\n" in out


def test_help_of_data(arcvit: Arcvit) -> None:
    assert "  check " in arcvit("data").out


def test_the_cache_is_listed_and_the_last_used_kept(arcvit: Arcvit, tmp_path: Path) -> None:
    for number, name in enumerate(("old", "new", "newest")):
        folder = tmp_path / "cache" / name
        folder.mkdir(parents=True)
        (folder / "images.npy").write_bytes(bytes(1000))
        (folder / "about.json").write_text(f'{{"from": "/photos/{name}", "images": 12}}')
        os.utime(folder / "about.json", (number, number))
    given = ("data", "cache", f"--cache_dir={tmp_path / 'cache'}")
    answer = arcvit(*given)
    assert answer.code == 0
    assert answer.out.index("/photos/newest") < answer.out.index("/photos/old")
    assert "3 entries, 0.000 GB" in answer.out
    assert "removed 2 entries" in arcvit(*given, "--keep_gb=0.0000015").out
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["newest"]
    for wrong in ("-1", "inf", "nan"):
        sentence = f"arcvit: --keep_gb is {float(wrong)}: expected"
        assert arcvit(*given, f"--keep_gb={wrong}").err.startswith(sentence)
    assert "0 entries" in arcvit("data", "cache", f"--cache_dir={tmp_path / 'none'}").out

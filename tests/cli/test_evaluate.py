import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from arcvit.core.result import read_result

Arcvit = Callable[..., object]
Trained = Callable[[str], Path]
METHODS = (
    "arc",
    "lora",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("arc_att", "linear", "full", "bitfit")
    ),
)


@pytest.mark.parametrize("method", METHODS)
def test_the_accuracy_of_the_result(arcvit: Arcvit, trained: Trained, method: str) -> None:
    result = read_result(trained(method))
    test = json.loads(arcvit("evaluate", trained(method), "--json").out)
    assert test == {
        "split": "test",
        "images": 32,
        "classes": 4,
        "metrics": result.metrics["test"],
        "accuracy": result.test_accuracy,
        "balanced_accuracy": result.test_balanced_accuracy,
        "majority_share": 0.25,
        "loss": test["loss"],
        "trained_on": 0,
        "left_out": 0,
        "unreadable": 0,
        "group_accuracy": None,
        "groups": None,
    }
    val = json.loads(arcvit("evaluate", trained(method), "--split=val", "--json").out)
    assert (val["images"], val["accuracy"]) == (24, result.val_accuracy)


def test_in_words(arcvit: Arcvit, trained: Trained) -> None:
    accuracy = read_result(trained("arc")).test_accuracy
    assert arcvit("evaluate", trained("arc")).out == (
        f"test accuracy {accuracy:.1%} on 32 images"
        f" (balanced {accuracy:.1%}, most frequent class 25.0%); 0 of them were trained on\n"
    )


def rows(folder: Path, *, split: str = "") -> str:
    """A table of class folders, with a column of splits where there is one."""
    ending = f",{split}" if split else ""
    lines = [f"{image},{image.parent.name}{ending}" for image in sorted(folder.glob("*/*.png"))]
    return "\n".join(["path,label" + (",split" if split else ""), *lines])


@pytest.mark.parametrize(
    ("classes", "below", "flags", "found"),
    [
        ("blue green red white", "", [], (12, 4, 0)),
        ("blue green red white", "test", [], (12, 4, 0)),
        ("blue green red white", "test", ["--split=test"], (12, 4, 0)),
        ("blue green red white", "", ["--split=test"], (4, 4, 0)),
        ("blue red", "", [], (6, 2, 0)),
        ("red", "val", [], (3, 1, 0)),
        ("white", "", [], (3, 1, 0)),
        ("red zebra", "", ["--ignore_unknown"], (3, 1, 3)),
        (
            "red Blue",
            "",
            [],
            "class(es) that the model doesn't know, 'Blue' (3 images): expected",
        ),
        ("red Blue", "", [], "Did you mean 'blue'?"),
        ("zebra", "", ["--ignore_unknown"], "1 class(es) that the model doesn't know, 'zebra'"),
        ("red white", "test", ["--split=val"], "has no split 'val': the splits are test"),
    ],
)
@pytest.mark.parametrize("form", ["folders", "table"])
def test_other_data(
    arcvit: Arcvit,
    trained: Trained,
    paint_classes: Callable[..., Path],
    tmp_path: Path,
    classes: str,
    below: str,
    flags: list[str],
    found: tuple[int, int, int] | str,
    form: str,
) -> None:
    path = tmp_path / "new"
    for name in classes.split():
        paint_classes(tmp_path / name, 3, seed=9, classes=("red",))
        shutil.move(tmp_path / name / "red", path / below / name)
    if form == "table":
        table = rows(path / below, split=below)
        path = tmp_path / "new.csv"
        path.write_text(table)
    answer = arcvit("evaluate", trained("arc"), f"--data.path={path}", "--json", *flags)
    if isinstance(found, str):
        assert answer.code == 2
        assert found in answer.err
    else:
        record = json.loads(answer.out)
        assert (record["images"], record["classes"], record["left_out"]) == found


@pytest.mark.slow
def test_names_that_are_numbers_go_by_name(
    arcvit: Arcvit, short_run: tuple[str, ...], photos: Path, tmp_path: Path
) -> None:
    """Folders sort as text, 1, 10, 2, and tables as numbers."""
    for split in ("train", "test"):
        for name, colour in (("1", "red"), ("2", "blue"), ("10", "green")):
            shutil.copytree(photos / split / colour, tmp_path / "data" / split / name)
    flags = (f"--data.path={tmp_path / 'data'}", "--method=linear", f"--out={tmp_path / 'run'}")
    assert arcvit("train", *short_run, *flags).code == 0
    (tmp_path / "data.csv").write_text(rows(tmp_path / "data" / "test"))
    expected = json.loads(arcvit("evaluate", tmp_path / "run", "--json").out)
    other = [f"--data.path={tmp_path / 'data.csv'}", "--json"]
    found = json.loads(arcvit("evaluate", tmp_path / "run", *other).out)
    assert (found["accuracy"], found["images"]) == (expected["accuracy"], 24)


def test_images_that_were_trained_on(
    arcvit: Arcvit, trained: Trained, photos: Path, tmp_path: Path
) -> None:
    whole = json.loads(arcvit("evaluate", trained("arc"), "--split=all", "--json").out)
    assert (whole["images"], whole["trained_on"]) == (48 + 24 + 32, 48)
    mixed = shutil.copytree(photos / "val", tmp_path / "mixed")
    shutil.copy(photos / "train" / "red" / "red_05.png", mixed / "red" / "another name.png")
    answer = arcvit("evaluate", trained("arc"), f"--data.path={mixed}")
    assert "on 25 images" in answer.out
    assert answer.out.endswith("; 1 of them were trained on\n")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["arc", "full"])
def test_an_adapter_alone(
    arcvit: Arcvit, trained: Trained, photos: Path, tmp_path: Path, method: str
) -> None:
    adapter = shutil.copytree(trained(method) / "adapter", tmp_path / "mine")
    answer = arcvit("evaluate", adapter, f"--data.path={photos / 'test'}")
    assert f"all accuracy {read_result(trained(method)).test_accuracy:.1%} on 32" in answer.out
    assert "; it is not known how many of them were trained on" in answer.out
    for flags, sentence in (
        ([], "an adapter alone has no images: name some with --data.path"),
        ([f"--data.path={photos}", "--data.preset=vtab"], "--data.preset is the adapter's own"),
    ):
        answer = arcvit("evaluate", adapter, *flags)
        assert answer.code == 2
        assert sentence in answer.err


def test_groups_and_what_is_ignored(arcvit: Arcvit, trained: Trained) -> None:
    flags = ["--data.group_pattern", r"(\w+)_\d(?=\d)", "--data.ignore", "*/*_07.png", "--json"]
    answer = arcvit("evaluate", *flags, trained("arc"))
    # The tests' photos of a class are numbered from 00: they are one group, which is one in train
    # too.
    assert answer.code == 2
    assert "group(s) in both train and test" in answer.err
    record = json.loads(arcvit("evaluate", *flags, trained("arc"), "--data.check=warn").out)
    assert (record["images"], record["groups"]) == (28, 4)
    assert record["group_accuracy"] in (0, 0.25, 0.5, 0.75, 1)


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--data.preset=vtab", "--data.preset is the run's own, model: leave it out"),
        ("--data.fit_on=trainval", "--data.fit_on is the run's own, train"),
        ("--data.pth=x", "there is no flag '--data.pth'. Did you mean 'data.path'"),
        ("--data.group_pattern=(", "data.group_pattern is '(': expected a regular expression"),
        ("--data.max_pixels=10", "24 x 24 pixels are more than --data.max_pixels, 10"),
    ],
)
def test_wrong_flags(arcvit: Arcvit, trained: Trained, flag: str, sentence: str) -> None:
    answer = arcvit("evaluate", trained("arc"), flag)
    assert answer.code == 2
    assert sentence in answer.err


def test_a_split_that_isnt_there(arcvit: Arcvit, trained: Trained) -> None:
    answer = arcvit("evaluate", trained("arc"), "--split=tst")
    assert answer.code == 2
    assert "has no split 'tst': the splits are train, val, test" in answer.err


def test_a_run_is_expected(arcvit: Arcvit, trained: Trained, photos: Path, tmp_path: Path) -> None:
    image = photos / "test" / "red" / "red_00.png"
    out = tmp_path / "m.safetensors"
    for command, *rest in (["evaluate"], ["predict", image], ["merge", f"--out={out}"]):
        answer = arcvit(command, tmp_path / "nothing", *rest)
        assert answer.code == 2
        assert "isn't there: expected a folder that arcvit train wrote" in answer.err
    assert not list(tmp_path.iterdir())

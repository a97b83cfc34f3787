import json
from collections.abc import Callable
from pathlib import Path

import pytest

from arcvit.core.result import read_result

Arcvit = Callable[..., object]
Trained = Callable[[str], Path]
METHODS = ("arc", "arc_att", "linear", "full", "bitfit", "lora")


@pytest.mark.parametrize("method", METHODS)
def test_the_accuracy_of_the_result(arcvit: Arcvit, trained: Trained, method: str) -> None:
    result = read_result(trained(method))
    test = json.loads(arcvit("evaluate", trained(method), "--json").out)
    assert test == {
        "split": "test",
        "images": 32,
        "accuracy": result.test_accuracy,
        "balanced_accuracy": result.test_balanced_accuracy,
        "majority_share": 0.25,
        "loss": test["loss"],
    }
    val = json.loads(arcvit("evaluate", trained(method), "--split=val", "--json").out)
    assert (val["images"], val["accuracy"]) == (24, result.val_accuracy)


def test_in_words(arcvit: Arcvit, trained: Trained) -> None:
    accuracy = read_result(trained("arc")).test_accuracy
    assert arcvit("evaluate", trained("arc")).out == (
        f"test accuracy {accuracy:.1%} on 32 images"
        f" (balanced {accuracy:.1%}, most frequent class 25.0%)\n"
    )


def test_other_data(
    arcvit: Arcvit, trained: Trained, paint_classes: Callable[..., Path], tmp_path: Path
) -> None:
    for split in ("train", "test"):
        paint_classes(tmp_path / "new" / split, 3, seed=9)
    answer = arcvit("evaluate", trained("arc"), f"--data.path={tmp_path / 'new'}", "--json")
    assert json.loads(answer.out)["images"] == 12


def test_other_classes(
    arcvit: Arcvit, trained: Trained, paint_classes: Callable[..., Path], tmp_path: Path
) -> None:
    for split in ("train", "test"):
        paint_classes(tmp_path / "new" / split, 2, classes=("red", "blue"))
    answer = arcvit("evaluate", trained("arc"), f"--data.path={tmp_path / 'new'}")
    assert answer.code == 2
    assert "'new' has other classes than the run (2 and 4, differing in green, white)" in answer.err


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

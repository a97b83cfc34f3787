"""Runs side by side, from what they say of each image."""

import csv
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.core.predictions import Predicted, read_predictions, write_predictions
from arcvit.recipe.compare import compare
from arcvit.recipe.parser import read_recipe
from arcvit.recipe.run import Run

Arcvit = Callable[..., object]


def image(number: int, predicted: str, *, split: str = "test", label: str = "a") -> Predicted:
    return Predicted(
        split=split,
        path=f"{number}.png",
        hash=f"hash{number}",
        label=label,
        predicted=predicted,
        probability=0.9,
        uncalibrated=0.9,
    )


@pytest.fixture
def run(trained: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """A finished run that says this of images: ``run("name", images)``."""

    def make(name: str, images: list[Predicted]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(trained("linear") / "result.json", folder)
        write_predictions(folder, images)
        return folder

    return make


def test_what_is_fixed_and_what_is_broken(run: Callable[..., Path]) -> None:
    one = run("one", [image(1, "a"), image(2, "b"), image(3, "b"), image(4, "a"), image(9, "a")])
    # In another order, moved, and without image 9.
    other = [image(4, "b"), image(3, "a"), image(2, "a"), image(1, "a")]
    found = compare(one, run("other", [dataclasses.replace(i, path="x") for i in other]))
    assert (found.split, found.images) == ("test", 4)
    assert [r.value for r in found.runs] == [0.5, 0.75]
    assert [r.measured for r in found.runs] == [5, 4]
    assert found.runs[0].low == pytest.approx(0.150, abs=1e-3)
    assert found.runs[0].high == pytest.approx(0.850, abs=1e-3)
    (pair,) = found.differences
    assert [before.path for before, _ in pair.fixed] == ["2.png", "3.png"]
    assert [(before.path, after.predicted) for before, after in pair.broken] == [("4.png", "b")]
    assert pair.p == 1.0


def test_runs_stand_for_their_folders(trained: Callable[[str], Path]) -> None:
    folders = trained("linear"), trained("arc")
    runs = [Run(read_recipe(folder / "recipe.yaml"), folder) for folder in folders]
    assert compare(*runs) == compare(*folders)


def test_copies_and_new_labels(run: Callable[..., Path]) -> None:
    one = run("one", [image(1, "a"), image(1, "b"), image(2, "a")])
    other = run("other", [image(1, "b"), image(1, "b"), image(2, "c", label="c")])
    found = compare(one, other)
    assert found.images == 2  # the second image has another label now
    assert len(found.differences[0].broken) == 1


def test_validation_where_not_all_have_a_test(run: Callable[..., Path]) -> None:
    both = run("both", [image(1, "a"), image(2, "a", split="val")])
    val = run("val", [image(2, "b", split="val")])
    assert compare(both, val).split == "val"
    with pytest.raises(UserError, match="not all of the runs were measured on test images"):
        compare(both, val, split="test")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda run: [run("one", [image(1, "a")])], "expected two runs or more"),
        (lambda run: [run("one", [image(1, "a")])] * 2, "is given twice"),
        (
            lambda run: [one := run("one", [image(1, "a")]), one / ".." / "one"],
            "is given twice",
        ),
        (
            lambda run: [run("one", [image(1, "a")]), run("two", [image(2, "a")])],
            "no test image in common",
        ),
        (lambda run: [run("one", [image(1, "a")]), Path("nothing")], "is not a finished run"),
    ],
)
def test_what_cant_be_compared(
    run: Callable[..., Path], make: Callable[..., list[Path]], sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        compare(*make(run))
    assert sentence in str(caught.value)


def test_the_command(
    arcvit: Arcvit, trained: Callable[[str], Path], run: Callable[..., Path], tmp_path: Path
) -> None:
    one, table = trained("linear"), tmp_path / "changed.csv"
    said = read_predictions(one)
    other = run("=other", [dataclasses.replace(i, predicted=i.label) for i in said])
    answer = arcvit("compare", one, other, f"--csv={table}")
    wrong = [i for i in said if i.split == "test" and not i.is_right]
    assert answer.code == 0  # type: ignore[attr-defined]
    assert f"{len(wrong)} fixed, 0 broken" in answer.out  # type: ignore[attr-defined]
    assert "100.0%" in answer.out  # type: ignore[attr-defined]
    lines = list(csv.DictReader(table.read_text().splitlines()))
    assert [line["path"] for line in lines] == [i.path for i in wrong]
    assert {line["change"] for line in lines} == {"fixed"}

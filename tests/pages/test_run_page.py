"""The page of one run: what is on it, whatever is damaged, gone or hostile."""

import csv
import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from arcvit.cli.report import draw_page
from arcvit.core.errors import UserError
from arcvit.core.files import read_json, write_json
from arcvit.core.predictions import Predicted, read_predictions, write_predictions
from arcvit.core.result import read_result
from arcvit.pages.run_page import write_run_page

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture
def run(trained: Callable[[str], Path], tmp_path: Path) -> Path:
    """A finished run that may be changed."""
    return Path(shutil.copytree(trained("arc"), tmp_path / "run"))


def confusion(page: str) -> dict[str, object]:
    found = re.search(r'id="confusion">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]


def test_what_is_on_a_page(run: Path) -> None:
    images = [dataclasses.replace(i, further={"camera": i.label}) for i in read_predictions(run)]
    write_predictions(run, images)
    page, table = write_run_page(run)
    text, result = page.read_text(), read_result(run)
    assert "http" not in re.sub(r"data:[^\"]*|Content-Security-Policy|http-equiv", "", text)
    assert f"{100 * result.test_accuracy:.1f} %" in text
    assert "method: arc" in text  # the recipe
    assert "Slice by slice" in text
    found = confusion(text)
    tested = [image for image in images if image.split == "test"]
    assert sum(images for _, _, images in found["counts"]) == len(tested)  # type: ignore[attr-defined]
    shown = [photo for of_cell in found["photos"].values() for photo in of_cell]  # type: ignore[attr-defined]
    assert {path for _, path, _ in shown} == {image.path for image in tested}
    assert all(uri.startswith("data:image/webp;base64,") for uri, _, _ in shown)
    scores = list(csv.DictReader(table.read_text().splitlines()))
    assert sum(int(row["images"]) for row in scores) == len(tested)
    assert all(
        float(row["recall_low"]) <= float(row["recall"]) <= float(row["recall_high"])
        for row in scores
    )


def test_names_stay_names(run: Path) -> None:
    """Of a page without photos, metrics and recipe, and of more classes than a matrix shows."""
    names = [HOSTILE, "$a_b$", "=1+1", *(f"class {index}" for index in range(197))]
    task = read_json(run / "adapter" / "task.json")
    write_json(run / "adapter" / "task.json", {**task, "labels": names})
    images = [
        Predicted(
            split="val",
            path=f"{HOSTILE}/\udcff\n{index}.jpg",
            hash="0",
            label=name,
            predicted=names[0],
            probability=0.5,
            uncalibrated=0.75,
            further={"<b>": HOSTILE if index % 2 else "no"},
        )
        for index, name in enumerate(names)
    ]
    write_predictions(run, images)
    (run / "metrics.jsonl").write_text('[1]\n{"epoch": "one"}\n')
    (run / "recipe.yaml").write_bytes(b"\xff" + HOSTILE.encode())
    text = write_run_page(run)[0].read_text()
    assert "<script>alert" not in text
    assert "<b>" not in text.replace("<b></b>", "").split("Slice by slice")[1]
    assert "there are no learning curves" in text
    assert "There are no photos:" in text
    assert "before calibration" in text
    assert len(confusion(text)["classes"]) == 200  # type: ignore[arg-type]


CHANGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda run: (run / "predictions.csv").unlink(), "has no predictions.csv"),
    (lambda run: (run / "predictions.csv").write_text("path\n"), "predictions.csv is damaged"),
    (lambda run: (run / "adapter" / "task.json").unlink(), "expected task.json in it"),
    (lambda run: (run / "recipe.yaml").unlink(), "recipe.yaml can&#39;t be read"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "told"), CHANGES)
def test_what_is_damaged_is_told(run: Path, change: Callable[[Path], object], told: str) -> None:
    change(run)
    assert told in write_run_page(run)[0].read_text()


@pytest.mark.slow
def test_a_run_that_measured_nothing(run: Path) -> None:
    measured = ("accuracy", "balanced_accuracy")
    nothing = {f"{split}_{name}": None for split in ("val", "test") for name in measured}
    nothing |= {"metrics": {}, "majority_share": None}
    dataclasses.replace(read_result(run), **nothing).write(run)
    write_predictions(run, [])
    (page,) = write_run_page(run)
    assert "Nothing was measured" in page.read_text()
    with pytest.raises(UserError, match="--split is 'val': expected a split that the run measured"):
        write_run_page(run, split="val")


@pytest.mark.slow
def test_photos_that_have_moved_or_changed(run: Path, photos: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(photos, tmp_path / "moved"))
    shutil.copy(moved / "test/red/red_00.png", moved / "test/blue/blue_00.png")
    text = write_run_page(run, photos=moved)[0].read_text()
    # Asked for once for the matrix, and where it is among the mistakes or hits.
    assert re.search(r"[123] photo\(s\) aren't there any more, or have changed since", text)


def test_a_page_that_fails_leaves_the_run(tmp_path: Path) -> None:
    told = draw_page(tmp_path / "nothing")
    assert told.startswith("no page was drawn: ")
    assert told.endswith(f"then arcvit report {tmp_path / 'nothing'} draws it")

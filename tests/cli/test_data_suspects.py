import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Arcvit = Callable[..., Any]


@pytest.fixture(scope="session")
def spoilt(paint_classes: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blue and red squares: two of them swapped, a copy with another label, a broken file, a class
    of one image. Not to be changed."""
    root = tmp_path_factory.mktemp("data") / "spoilt"
    for seed, split in enumerate(("train", "test")):
        paint_classes(root / split, 12, seed=seed, classes=("blue", "red"))
    train = root / "train"
    (train / "blue" / "blue_00.png").rename(train / "red" / "swapped.png")
    (train / "red" / "red_00.png").rename(train / "blue" / "swapped.png")
    shutil.copy(train / "red" / "red_05.png", root / "test" / "blue" / "copy.png")
    (train / "red" / "broken.png").write_text("no image")
    paint_classes(train, 1, seed=9, classes=("white",))
    return root


def test_suspects_are_printed_tabled_and_drawn(
    arcvit: Arcvit, spoilt: Path, tiny: Path, tmp_path: Path
) -> None:
    table, page = tmp_path / "suspects.csv", tmp_path / "suspects.html"
    answer = arcvit(
        *("data", "suspects", spoilt, f"--backbone={tiny}", "--data.orientation", "stored"),
        *(f"--csv={table}", f"--page={page}", "--top", 1),
    )
    assert answer.code == 0, answer.err
    said = answer.out
    assert "broken.png (not an image of a format that is read)" in said
    assert "49 labels judged by a linear probe on the features of" in said
    assert (
        "not judged: 1, as there is no other image of their class to learn from: train/white"
        in said
    )
    assert "copy  " in said and "test/blue/copy.png" in said
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "suggested", "score"]
    first = {row["path"] for row in rows[:3]}
    assert first >= {"train/red/swapped.png", "train/blue/swapped.png"}
    assert all(0.5 < float(row["score"]) <= 1 for row in rows)
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/webp") == len(rows) + 2 * html.count("<section>")
    assert "the same file" in html and "different labels" in html


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("{spoilt}", "--top=-1"), "--top is -1: expected a number of images, 0 or more"),
        (("{spoilt}", "--data.path=x"), "PATH alone says what is looked at"),
        (("{spoilt}/nowhere",), "isn't there: expected a folder or a table"),
        (("{lone}",), "has images of one class: expected two"),
        (("{spoilt}", "--backbone=nothing"), "nothing"),
        (("{spoilt}", "--run=nowhere"), "run 'nowhere' isn't there"),
    ],
)
def test_what_cannot_be_judged(
    arcvit: Arcvit,
    spoilt: Path,
    paint_classes: Callable[..., Path],
    tmp_path: Path,
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    lone, table = paint_classes(tmp_path / "lone", 2, classes=("blue",)), tmp_path / "table.csv"
    given = [argument.format(spoilt=spoilt, lone=lone) for argument in arguments]
    answer = arcvit("data", "suspects", *given, f"--csv={table}")
    assert answer.code == 2
    assert sentence in answer.err
    assert not table.exists()

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Arcvit = Callable[..., Any]


@pytest.fixture
def pool(photos: Path, paint_classes: Callable[..., Path], tmp_path: Path) -> Path:
    """New photos, one of them twice, one that the run has, and one that is broken."""
    folder = paint_classes(tmp_path / "pool", 3, seed=7)
    shutil.copy(folder / "red" / "red_00.png", folder / "copy.png")
    shutil.copy(photos / "train" / "red" / "red_00.png", folder / "known.png")
    (folder / "broken.png").write_text("no image")
    return folder


def test_photos_to_label_next(
    arcvit: Arcvit, trained: Callable[[str], Path], pool: Path, tmp_path: Path
) -> None:
    run, table = trained("linear"), tmp_path / "next.csv"
    answer = arcvit("data", "next", pool, f"--run={run}", "--n=4", f"--csv={table}")
    assert answer.code == 0, answer.err
    for said in (
        "broken.png (not an image",
        "1 photo(s) that are in the data of",
        "1 that are copies",
        "4 of 12 photos to label next",
    ):
        assert said in answer.out
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "predicted", "probability", "uncertainty"]
    assert len({row["path"] for row in rows}) == 4
    unsure = [float(row["uncertainty"]) for row in rows]
    assert unsure == sorted(unsure, reverse=True)
    assert not any(row["path"].endswith(("known.png", "broken.png")) for row in rows)
    answer = arcvit("data", "next", pool, f"--run={run}", "--n=99")
    assert "fewer photos than --n 99: all are listed" in answer.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("{photos}/train", "--run={run}"), "are in the data of {run} already, by content"),
        (("{photos}/train", "--run={run}", "--n=0"), "--n is 0: expected at least 1"),
        (("{photos}/train", "--run={run}", "--seed=-1"), "--seed is -1: expected 0 or more"),
        (("{photos}/train",), "--run"),
        (("--run={run}",), "no image is given"),
        (("{photos}/train", "--run=nowhere"), "run 'nowhere' isn't there"),
    ],
)
def test_what_cannot_be_chosen(
    arcvit: Arcvit,
    trained: Callable[[str], Path],
    photos: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    places = {"photos": photos, "run": trained("linear")}
    given = [argument.format(**places) for argument in arguments]
    answer = arcvit("data", "next", *given, f"--csv={tmp_path / 'next.csv'}")
    assert answer.code == 2
    assert sentence.format(**places) in answer.err
    assert not list(tmp_path.iterdir())

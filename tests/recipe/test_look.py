"""What a run refuses of its images before it learns, and what it only says."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcvit.core.errors import UserError
from arcvit.data.config import DataConfig
from arcvit.recipe.look import look_through

Arcvit = Callable[..., object]


def stolen(root: Path) -> None:
    shutil.copy(root / "test/red/red_00.png", root / "train/red/stolen.png")


def black(root: Path) -> None:
    for file in (root / "train/blue").iterdir():
        Image.new("RGB", (24, 24)).save(file)


def beside(root: Path) -> None:
    shutil.copytree(root / "train/red", root / "pink")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (stolen, "1 image(s) of train are in test too, by content"),
        pytest.param(black, "are blank, nothing is to be seen on them", marks=pytest.mark.slow),
        pytest.param(
            beside,
            "images that aren't read, beside the folder(s) train, val, test: pink/ (12)",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_training_refuses_what_would_be_wrong(
    arcvit: Arcvit,
    photos: Path,
    tiny: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    sentence: str,
) -> None:
    root = shutil.copytree(photos, tmp_path / "photos")
    change(root)
    run = ["train", f"--data.path={root}", f"--backbone={tiny}", "--engine.epochs=1"]
    run += ["--engine.precision=fp32", f"--out={tmp_path / 'run'}", "--method=linear"]
    answer = arcvit(*run)
    assert answer.code == 2
    assert sentence in answer.err
    assert not (tmp_path / "run").exists()
    answer = arcvit(*run, "--data.check=warn")
    assert answer.code == 0
    assert f"warning: {root}" in answer.out or "warning: 1" in answer.out
    assert sentence in answer.out


@pytest.mark.slow
def test_names_of_files_and_folders_that_are_not_utf8(
    arcvit: Arcvit, photos: Path, tiny: Path, tmp_path: Path
) -> None:
    root = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    shutil.copytree(photos, root)
    os.rename(f"{root}/test/red/red_00.png", os.fsdecode(os.fsencode(root) + b"/test/red/\xe9.png"))
    run = ["--engine.epochs=1", "--engine.precision=fp32", "--method=linear", f"--backbone={tiny}"]
    out = tmp_path / "run"
    answer = arcvit("train", f"--data.path={root}", *run, f"--out={out}")
    assert (answer.code, answer.err) == (0, "")
    assert (out / "adapter/README.md").is_file()
    answer = arcvit("evaluate", out, "--json")
    assert (answer.code, answer.err) == (0, "")


def test_what_is_skipped_is_not_looked_at(photos: Path, tmp_path: Path) -> None:
    root = shutil.copytree(photos, tmp_path / "photos")
    stolen(root)
    said: list[str] = []
    assert look_through(DataConfig(path=str(root), check="skip"), said.append) == said == []
    with pytest.raises(UserError, match=r"arcvit data check shows all .* --data\.check warn"):
        look_through(DataConfig(path=str(root)), said.append)


def test_classes_without_validation_images_are_named(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    for name, count in (("common", 60), ("rare", 3)):
        (tmp_path / name).mkdir()
        for index in range(count):
            pixels = draws.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    said = " ".join(look_through(DataConfig(path=str(tmp_path)), lambda line: None))
    assert "1 of 2 classes have no image in val: rare" in said
    assert "95% of train is of the class common" in said

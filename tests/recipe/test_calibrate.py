"""What a run learns from its validation images about itself, and what is made of it."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import arcvit
from arcvit.core.errors import UserError
from arcvit.core.task import read_task

Trained = Callable[[str], Path]
MEANS = "calibration.safetensors"


@pytest.fixture(scope="module")
def classifier(trained: Trained) -> arcvit.Classifier:
    return arcvit.load(trained("arc"), device="cpu")


def test_what_is_kept(classifier: arcvit.Classifier, trained: Trained, photos: Path) -> None:
    kept = classifier.calibration
    assert kept is not None
    assert (kept.images, kept.coverage, kept.score) == (24, 0.95, "cosine")
    validation = sorted((photos / "val").glob("*/*.png"))
    known = [prediction.known for prediction in classifier.predict(validation)]
    assert 23 <= sum(known) <= 24  # 95 % of 24, or one more
    means = load_file(trained("arc") / "adapter" / MEANS)["means"]
    assert (means.dtype, means.shape) == (torch.float16, (4, 32))


def test_probabilities_are_calibrated_everywhere(
    classifier: arcvit.Classifier, trained: Trained, photos: Path
) -> None:
    """In Python and in predictions.csv alike."""
    with (trained("arc") / "predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    found = classifier.predict([photos / row["path"] for row in rows])
    for row, prediction in zip(rows, found, strict=True):
        assert prediction.label == row["predicted"]
        assert prediction.probability == pytest.approx(float(row["probability"]), abs=1e-3)
    assert any(row["probability"] != row["uncalibrated"] for row in rows)


def test_photos_like_none_are_unknown(classifier: arcvit.Classifier, photos: Path) -> None:
    stripes = np.zeros((24, 24, 3), np.uint8)
    stripes[::2, :, 1] = 255
    (odd,) = classifier.predict(stripes)
    assert odd.known is False and odd.label in classifier.labels
    image = photos / "test/red/red_00.png"
    probability = classifier.predict(image)[0].probability
    for threshold, known in ((0.0, True), (probability - 0.01, True), (1.0, False)):
        assert classifier.predict(image, threshold=threshold)[0].known is known
    with pytest.raises(UserError, match=r"threshold is 5: expected a probability, 0 to 1"):
        classifier.predict(image, threshold=5)


def test_the_command_line(
    arcvit: Callable[..., object], trained: Trained, photos: Path, tmp_path: Path
) -> None:
    image, run = photos / "test/red/red_00.png", trained("arc")
    nearest = json.loads(arcvit("predict", run, image, "--json").out)["label"]
    command = ("predict", run, image, "--threshold=1")
    assert arcvit(*command).out == f"{image}  unknown (nearest: {nearest})\n"
    assert f"{image},{nearest}," in (line := arcvit(*command, "--csv=-").out)
    assert ",false,," in line
    assert arcvit("predict", run, image, "--unknown").code == 0
    assert "divided by" in arcvit("merge", run, f"--out={tmp_path / 'm.safetensors'}").out
    adapter = without_calibration(run, tmp_path)
    answer = arcvit("predict", adapter, image, "--unknown")
    assert answer.code == 2
    assert "can't tell what is unknown: it was trained without validation images" in answer.err
    assert json.loads(arcvit("predict", adapter, image, "--json").out)["known"] is None


def without_calibration(run: Path, folder: Path) -> Path:
    adapter = Path(shutil.copytree(run / "adapter", folder / "plain"))
    record = json.loads((adapter / "task.json").read_text())
    (adapter / "task.json").write_text(json.dumps(record | {"calibration": None}))
    (adapter / MEANS).unlink()
    return adapter


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda file: file.unlink(), "isn't there, by which images that are like no class"),
        (lambda file: file.write_bytes(b"no"), "is damaged: expected a safetensors file"),
        (lambda file: save_file({"x": torch.zeros(1)}, file), "is damaged: expected a safetensors"),
        *(
            (lambda file, means=means: save_file({"means": means}, file), sentence)
            for means, sentence in (
                (torch.zeros(4, 32), r"means is float32 \(4, 32\): expected finite float16"),
                (torch.zeros(3, 32).half(), r"means is float16 \(3, 32\): expected"),
                (torch.zeros(4, 31).half(), r"means is float16 \(4, 31\): expected"),
                (torch.full((4, 32), torch.nan).half(), "expected finite"),
            )
        ),
    ],
)
def test_damaged_means(
    trained: Trained, tmp_path: Path, spoil: Callable[[Path], object], sentence: str
) -> None:
    adapter = shutil.copytree(trained("arc") / "adapter", tmp_path / "a")
    spoil(adapter / MEANS)
    with pytest.raises(UserError, match=sentence):
        arcvit.load(adapter, device="cpu")


def test_without_validation_images_there_is_none(
    arcvit: Callable[..., object], short_run: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    flags = ("--data.fit_on=trainval", "--method=linear", "--engine.epochs=1", f"--out={out}")
    assert arcvit("train", *short_run, *flags).code == 0
    assert read_task(out / "adapter").calibration is None
    assert not (out / "adapter" / MEANS).exists()

"""A run with folds: what it says of images it hadn't seen, and that it goes on where it was."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import arcvit
from arcvit.core.intervals import wilson
from arcvit.core.result import read_result
from arcvit.core.task import read_task
from arcvit.recipe import execute

Answer = Callable[..., object]


class Stopped(BaseException):
    """Stands for whatever ends a process."""


@pytest.fixture
def train(short_run: tuple[str, ...]) -> Callable[..., int]:
    """Train a linear probe with three folds, in this process."""
    from arcvit.cli.main import main

    return lambda out, *flags: main(
        ["train", *short_run, "--method=linear", "--folds=3", f"--out={out}", *flags]
    )


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_every_image_is_left_out_once(
    train: Callable[..., int], tmp_path: Path, photos: Path
) -> None:
    run = tmp_path / "run"
    assert train(run, "--data.augment=none") == 0
    told = rows(run / "out_of_fold.csv")
    columns = ["split", "path", "hash", "label", "predicted", "probability", "uncalibrated"]
    assert list(told[0]) == [*columns, "given", "fold"]
    sure = all(
        row["given"] == row["probability"] for row in told if row["label"] == row["predicted"]
    )
    assert sure and all(float(row["given"]) <= float(row["probability"]) for row in told)
    seen = sorted(path for split in ("train", "val") for path in photos.glob(f"{split}/*/*.png"))
    assert sorted(photos / row["path"] for row in told) == seen
    assert {row["split"] for row in told} == {"out_of_fold"}
    per_fold = [sum(row["fold"] == str(fold) for row in told) for fold in range(3)]
    assert per_fold == [24, 24, 24]

    result = read_result(run)
    assert (result.train_images, result.val_accuracy) == (72, None)
    found = result.out_of_fold
    assert found is not None
    hits = sum(row["label"] == row["predicted"] for row in told)
    assert (found["folds"], found["images"], found["accuracy"]) == (3, 72, hits / 72)
    assert (found["low"], found["high"]) == pytest.approx(wilson(hits, 72))
    assert result.chosen_by == found["accuracy"]

    calibration = read_task(run / "adapter").calibration
    assert calibration is not None
    assert calibration.images == 72
    assert any(row["probability"] != row["uncalibrated"] for row in told)
    known = arcvit.load(run, device="cpu").predict(sorted((photos / "test").glob("*/*.png")))
    assert sum(prediction.known is True for prediction in known) > 12
    names = {path.name for path in run.iterdir()}
    assert "folds" not in names
    comparison = arcvit.compare(run, shutil.copytree(run, tmp_path / "copy"), split="out_of_fold")
    assert comparison.images == 72


@pytest.mark.slow
@pytest.mark.parametrize(("fold", "finished"), [(1, 1), (None, 3)])
def test_what_has_finished_isnt_done_again(
    train: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fold: int | None,
    finished: int,
) -> None:
    run, write, log = tmp_path / "run", execute.write_metrics, []

    def stop(folder: Path, history: list[dict[str, object]]) -> None:
        write(folder, history)
        log.append((folder.name, len(history)))
        at = "run" if fold is None else str(fold)
        if folder.name == at and len(history) == 2:
            raise Stopped

    monkeypatch.setattr(execute, "write_metrics", stop)
    with pytest.raises(Stopped):
        train(run, "--data.preset=fgvc")
    assert len(list(run.glob("folds/*/result.json"))) == finished
    assert not (run / "result.json").exists()
    assert train(run, "--data.preset=fgvc", "--optim.lr=0.5") == 2  # not of another recipe

    def tell(folder: Path, history: list[dict[str, object]]) -> None:
        write(folder, history)
        log.append((folder.name, len(history)))

    log.clear()
    monkeypatch.setattr(execute, "write_metrics", tell)
    assert train(run, "--data.preset=fgvc") == 0
    stopped = "run" if fold is None else str(fold)
    assert [epoch for name, epoch in log if name == stopped] == [2, 3, 4]
    assert {name for name, _ in log} == {"run", *(str(n) for n in range(finished, 3))}

    assert train(tmp_path / "whole", "--data.preset=fgvc") == 0
    for name in ("out_of_fold.csv", "predictions.csv"):
        assert (run / name).read_text() == (tmp_path / "whole" / name).read_text()


@pytest.mark.slow
def test_other_images_are_refused_on_the_way(
    short_run: tuple[str, ...],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    train: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = shutil.copytree(photos, tmp_path / "photos")
    flags = (f"--data.path={own}", "--data.augment=none")
    write = execute.write_metrics

    def stop(folder: Path, history: list[dict[str, object]]) -> None:
        write(folder, history)
        if folder.name == "1":
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(execute, "write_metrics", stop)
        train(tmp_path / "run", *flags)
    next((own / "train/red").glob("*.png")).unlink()
    assert train(tmp_path / "run", *flags, "--resume_anyway") == 2
    assert "have changed since the run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_time_limit_is_for_all_of_it(train: Callable[..., int], tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert (
        train(run, "--time_limit=9s", "--engine.epochs=100000", "--engine.keep_checkpoint=true")
        == 0
    )
    epochs = {json.loads(file.read_text())["epochs"] for file in run.glob("**/result.json")}
    assert len(epochs) == 1
    assert epochs != {100000}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ("--folds=30",),
            "class 'blue' has 18 images besides those of the test split, too few for --folds 30 (4",
        ),
        (("--folds=1",), "folds is 1: expected a whole number at least 2"),
        (("--data.folds=3",), "folds and data.folds are both given"),
    ],
)
def test_folds_that_cant_be(
    train: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    sentence: str,
) -> None:
    assert train(tmp_path / "run", *flags) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()

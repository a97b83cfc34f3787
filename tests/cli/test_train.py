import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from arcvit.core.lock import locked
from arcvit.core.result import read_result

Arcvit = Callable[..., object]
Trained = Callable[[str], Path]


def test_the_default_folder(
    arcvit: Arcvit, short_run: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = arcvit("train", *short_run, "--method=linear")
    assert answer.code == 0
    result = read_result(tmp_path / "runs" / "colours-linear-tiny")
    assert answer.out == (
        f"validation accuracy {result.val_accuracy:.1%}, test accuracy {result.test_accuracy:.1%}"
        f" (balanced {result.test_balanced_accuracy:.1%}, most frequent class 25.0%);"
        " the run is in runs/colours-linear-tiny\n"
    )
    assert answer.err == ""


def test_a_finished_run_is_refused(
    arcvit: Arcvit, short_run: tuple[str, ...], trained: Trained
) -> None:
    run = trained("arc")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    answer = arcvit("train", *short_run, f"--out={run}")
    assert answer.code == 2
    assert "holds a finished run: choose another --out, replace it with --overwrite" in answer.err
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_an_unfinished_run_of_another_recipe_is_refused(
    arcvit: Arcvit, short_run: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert arcvit("train", *short_run, f"--out={run}").code == 0
    (run / "result.json").unlink()
    answer = arcvit("train", *short_run, "--optim.lr=0.5", "--seed=3", f"--out={run}")
    assert answer.code == 2
    assert "unfinished run of another recipe (it differs in optim.lr, seed)" in answer.err
    assert yaml.safe_load((run / "recipe.yaml").read_text())["seed"] == 0


def test_yaml_and_flags(arcvit: Arcvit, photos: Path, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"data: {{path: {photos}}}\nbackbone: {tiny}\nmethod: linear\nseed: 4\n"
        "engine: {epochs: 9, batch_size: 16, track: [], precision: fp32}\n"
    )
    run = tmp_path / "run"
    flags = ("--engine.epochs=2", "--quiet", f"--out={run}")
    assert arcvit("train", f"--config={file}", *flags).code == 0
    result = read_result(run)
    assert (result.method, result.seed, result.epochs) == ("linear", 4, 2)


def test_print_config_of_the_command(arcvit: Arcvit, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        arcvit("train", "--data.path=p", "--print_config")
    assert stopped.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["data"]["path"] == "p"
    assert printed["engine"]["epochs"] == 30


def test_nan_stops_and_names_the_step(
    arcvit: Arcvit, short_run: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    answer = arcvit("train", *short_run, "--optim.lr=1e38", f"--out={run}")
    assert answer.code == 2
    assert " of epoch " in answer.err
    assert "training stopped; " in answer.err
    assert answer.err.count("\n") == 1
    # Nothing good was there to keep: nothing is left.
    assert not run.exists()


def test_two_at_once(arcvit: Arcvit, short_run: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    with locked(run):
        answer = arcvit("train", *short_run, f"--out={run}")
        assert answer.code == 2
        assert f"arcvit: {run} is in use by process {os.getpid()} on " in answer.err
        assert answer.err.count("\n") == 1
        assert [path.name for path in run.iterdir()] == [".lock"]


def test_nan_later_keeps_the_last_good_checkpoint(
    arcvit: Arcvit, short_run: tuple[str, ...], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # One step an epoch, and the first one of a warm-up is zero: epoch 1 is good.
    flags = ("--optim.lr=3e37", "--optim.warmup=1", "--engine.batch_size=48")
    answer = arcvit("train", *short_run, *flags, f"--out={run}")
    assert answer.code == 2
    assert (
        f"the state after the last good epoch is in {run / 'checkpoint' / 'epoch-2'}" in answer.err
    )
    assert (run / "checkpoint" / "epoch-2" / "epoch.json").is_file()
    assert not (run / "result.json").exists()
    assert not (run / "adapter").exists()


def test_photos_without_a_flag(arcvit: Arcvit, photos: Path, tmp_path: Path) -> None:
    flags = ("--engine.epochs", "0", "--quiet", photos)  # none of them takes the folder
    assert "engine.epochs is 0" in arcvit("train", *flags).err
    assert "are both given: expected one" in arcvit("train", photos, f"--data.path={photos}").err
    assert "my photos isn't there" in arcvit("train", "--data.path=my photos", "--quiet").err
    assert "'b' is not expected here" in arcvit("train", "a", "b").err

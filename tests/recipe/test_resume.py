"""A run that is stopped goes on where it was, and ends as if it had never been stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

EPOCHS = 14
# Dropout draws from the global generator, and warm-up and cosine go by steps over the whole run.
FLAGS = (f"--engine.epochs={EPOCHS}", "--arc.arc_dropout=0.3", "--data.preset=fgvc")


class Stopped(BaseException):
    """Stands for whatever ends a process."""


def learned(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def assert_same_end(run: Path, uninterrupted: Path) -> None:
    expected = learned(uninterrupted)
    found = learned(run)
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, EPOCHS + 1))
    one, other = (json.loads((r / "result.json").read_text()) for r in (run, uninterrupted))
    assert one["test_accuracy"] == other["test_accuracy"]
    assert sorted(p.name for p in run.iterdir()) == sorted(p.name for p in uninterrupted.iterdir())


@pytest.fixture(scope="module")
def uninterrupted(
    short_run: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A run of a method from start to end, made once."""
    from arcvit.cli.main import main

    folder = tmp_path_factory.mktemp("uninterrupted")

    def run(method: str) -> Path:
        out = folder / method
        if not out.exists():
            flags = [*short_run, *FLAGS, f"--method={method}", f"--out={out}"]
            assert main(["train", *flags]) == 0
        return out

    return run


@pytest.mark.slow
def test_a_killed_process(
    short_run: tuple[str, ...],
    tmp_path: Path,
    arcvit: Callable[..., object],
    uninterrupted: Callable[[str], Path],
) -> None:
    run = tmp_path / "run"
    command = ["train", *short_run, *FLAGS, f"--out={run}"]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        [sys.executable, "-m", "arcvit.cli.main", *command], env=os.environ | threads
    )
    try:
        metrics = run / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while not metrics.is_file() or metrics.read_text().count("\n") < 3:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    done = metrics.read_text().count("\n")
    assert 3 <= done < EPOCHS
    assert not (run / "result.json").exists()
    assert any((run / "checkpoint").glob("epoch-*"))

    assert arcvit(*command).code == 0  # type: ignore[attr-defined]
    assert_same_end(run, uninterrupted("arc"))


def stop_after(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """End training right after an epoch was written down."""
    from arcvit.recipe import execute

    write = execute.write_metrics

    def write_then_stop(run: Path, history: list[dict[str, object]]) -> None:
        write(run, history)
        if len(history) == epoch:
            raise Stopped

    monkeypatch.setattr(execute, "write_metrics", write_then_stop)


FIXED = "arc:core=full:projection_init=activations:train_projection=false"


@pytest.mark.parametrize(
    ("method", "every"),
    [
        ("arc", 5),
        *(pytest.param(name, 1, marks=pytest.mark.slow) for name in ("arc", "linear", FIXED)),
    ],
)
def test_a_stopped_run_of_each_kind(
    short_run: tuple[str, ...],
    tmp_path: Path,
    arcvit: Callable[..., object],
    uninterrupted: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    every: int,
) -> None:
    run = tmp_path / "run"
    flags = [*short_run, *FLAGS, f"--method={method}", f"--engine.checkpoint_every={every}"]
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        stop_after(patched, 8)
        arcvit("train", *flags, f"--out={run}")
    assert (run / "metrics.jsonl").read_text().count("\n") == 8
    assert arcvit("train", *flags, f"--out={run}").code == 0  # type: ignore[attr-defined]
    assert_same_end(run, uninterrupted(method))


@pytest.mark.slow
def test_stopped_after_the_last_epoch_trains_no_more(
    short_run: tuple[str, ...],
    tmp_path: Path,
    arcvit: Callable[..., object],
    uninterrupted: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    command = ["train", *short_run, *FLAGS, f"--out={run}"]
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        stop_after(patched, EPOCHS)
        arcvit(*command)
    before = (run / "metrics.jsonl").read_text()
    assert arcvit(*command).code == 0  # type: ignore[attr-defined]
    assert (run / "metrics.jsonl").read_text() == before
    assert_same_end(run, uninterrupted("arc"))


@pytest.mark.slow
def test_what_a_kill_leaves_half_written_goes_away(
    short_run: tuple[str, ...],
    tmp_path: Path,
    arcvit: Callable[..., object],
    uninterrupted: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    command = ["train", *short_run, *FLAGS, f"--out={run}"]
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        stop_after(patched, 4)
        arcvit(*command)
    # Killed while writing a checkpoint, and while writing the metrics.
    (run / "checkpoint" / ".epoch-5.partial-shared").mkdir()
    (run / ".metrics.jsonl.partial-77.jsonl").write_text('{"epo')
    assert arcvit(*command).code == 0  # type: ignore[attr-defined]
    assert_same_end(run, uninterrupted("arc"))


def swap_classes(data: Path) -> None:
    for split in ("train", "val"):
        (data / split / "red").rename(data / "aside")
        (data / split / "blue").rename(data / split / "red")
        (data / "aside").rename(data / split / "blue")


def add(data: Path) -> None:
    draws = np.random.default_rng(99).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(draws).save(data / "train" / "red" / "new.png")


def remove(data: Path) -> None:
    (data / "train" / "red" / "red_03.png").unlink()


def edit_in_place(data: Path) -> None:
    """Another photo of the same size and date under the same name."""
    photo = data / "train" / "red" / "red_03.png"
    content, times = photo.read_bytes(), photo.stat()
    photo.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))


def train_on_validation(data: Path) -> None:
    (data / "val" / "red" / "red_01.png").rename(data / "train" / "red" / "moved.png")


def validate_on_trained(data: Path) -> None:
    (data / "train" / "red" / "red_01.png").rename(data / "val" / "red" / "moved.png")


@pytest.mark.parametrize(
    ("change", "sentence", "train"),
    [
        pytest.param(
            swap_classes,
            "36 relabelled (train/blue/red_00.png: red -> blue, ",
            48,
            marks=pytest.mark.slow,
        ),
        pytest.param(add, "stopped: 1 added (train/red/new.png);", 49, marks=pytest.mark.slow),
        pytest.param(
            remove, "stopped: 1 removed (train/red/red_03.png);", 47, marks=pytest.mark.slow
        ),
        (edit_in_place, "stopped: 1 with other content (train/red/red_03.png);", 48),
        pytest.param(
            train_on_validation,
            "split (train/red/moved.png: val -> train);",
            48,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            validate_on_trained,
            "split (val/red/moved.png: train -> val);",
            48,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_changed_images_are_refused(
    short_run: tuple[str, ...],
    photos: Path,
    tmp_path: Path,
    arcvit: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    sentence: str,
    train: int,
) -> None:
    data = shutil.copytree(photos, tmp_path / "data")
    run = tmp_path / "run"
    command = ["train", *short_run, f"--data.path={data}", "--method=linear", f"--out={run}"]
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        stop_after(patched, 3)
        arcvit(*command)
    change(data)
    answer = arcvit(*command)
    assert answer.code == 2  # type: ignore[attr-defined]
    assert sentence in answer.err  # type: ignore[attr-defined]
    assert arcvit(*command, "--resume_anyway").code == 0  # type: ignore[attr-defined]
    result = json.loads((run / "result.json").read_text())
    assert result["train_images"] == train
    images = json.loads((run / "images.json").read_text())["images"]
    kept = {path for path, _, splits, _ in images if splits == ["train"]}
    assert len(kept) == train
    assert "train/red/moved.png" not in kept
    assert ("val/red/moved.png" in kept) == (change is validate_on_trained)


def test_a_new_class_is_always_refused(
    short_run: tuple[str, ...],
    photos: Path,
    tmp_path: Path,
    arcvit: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = shutil.copytree(photos, tmp_path / "data")
    command = ["train", *short_run, f"--data.path={data}", f"--out={tmp_path / 'run'}"]
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        stop_after(patched, 2)
        arcvit(*command)
    shutil.copytree(data / "train" / "red", data / "train" / "violet")
    for flags in ([], ["--resume_anyway"]):
        answer = arcvit(*command, *flags)
        assert answer.code == 2  # type: ignore[attr-defined]
        assert "1 class(es) more than when" in answer.err  # type: ignore[attr-defined]
        assert "'violet': its head has no output for them" in answer.err  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_time_limit_is_decided_once(
    short_run: tuple[str, ...],
    tmp_path: Path,
    arcvit: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from arcvit.recipe import settle

    run = tmp_path / "run"
    command = ["train", *short_run, "--method=linear", "--time_limit=1h", f"--out={run}"]
    command.remove("--quiet")
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(settle, "epochs_that_fit", lambda *args, **kwargs: (2, 7.0))
        stop_after(patched, 1)
        arcvit(*command)
    answer = arcvit(*command)  # there would be room for all
    assert "resuming at epoch 2\n" in answer.out  # type: ignore[attr-defined]
    assert "has room for" not in answer.out  # type: ignore[attr-defined]
    assert json.loads((run / "result.json").read_text())["epochs"] == 2

"""A run that is stopped goes on where it was, and ends as if it had never been stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
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
    assert (run / "checkpoint" / "epoch.json").is_file()

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


@pytest.mark.parametrize(
    ("method", "every"), [("arc", 1), ("arc", 5), ("linear", 1), ("bitfit", 1)]
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
    # Killed between the two renames that replace a checkpoint, and while writing the metrics.
    (run / "checkpoint").rename(run / ".checkpoint.outdated-77")
    (run / ".checkpoint.partial-shared").mkdir()
    (run / ".metrics.jsonl.partial-77.jsonl").write_text('{"epo')
    assert arcvit(*command).code == 0  # type: ignore[attr-defined]
    assert_same_end(run, uninterrupted("arc"))

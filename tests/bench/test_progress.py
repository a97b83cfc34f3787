"""What a bench shows while it works: runs, epochs, the time left, in a log from time to time."""

import io
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from arcvit.bench import progress as module
from arcvit.bench.progress import Progress


def make(folder: Path, *, terminal: bool = False) -> tuple[Progress, io.StringIO]:
    """Of four runs of a cost of 100 each, on two workers."""
    shown = io.StringIO()
    entry = cast(Any, SimpleNamespace(row=SimpleNamespace(name="arc"), runs=4, cost=400.0))
    console = Console(file=shown, width=200, force_terminal=terminal)
    return Progress(console, [entry], 2, folder), shown


def test_runs_epochs_and_the_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    progress, _ = make(tmp_path)
    for seed in range(4):
        progress.expected(f"one/arc/seed-{seed}", "arc", 100.0, 10)
    assert progress.status() == "[0/4] "
    progress.doing(["the look at one"])
    assert progress.status() == "[0/4] the look at one"
    progress.doing(["one/arc/seed-0", "one/arc/seed-1"])
    (tmp_path / "one" / "arc" / "seed-0").mkdir(parents=True)
    (tmp_path / "one" / "arc" / "seed-0" / "metrics.jsonl").write_text("{}\n" * 5)
    now[0] += 50
    # Half a run took 50 s; three and a half are left for two workers.
    assert progress.status() == "[0/4] 3 min left; one/arc/seed-0 epoch 5/10, one/arc/seed-1"
    progress.finished("arc", 100.0, 100.0, "done")
    progress.doing(["one/arc/seed-1"])
    assert progress.status() == "[1/4] 2 min left; one/arc/seed-1"
    progress.doing([f"one/arc/seed-{seed}" for seed in range(10)])
    assert progress.status().endswith("one/arc/seed-2, 7 more")


@pytest.mark.parametrize("terminal", [False, True])
def test_it_is_shown_while_others_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(module, "_REFRESH", 0.005)
    monkeypatch.setattr(module, "_PAUSE", (0.02, 0.02))
    progress, shown = make(tmp_path, terminal=terminal)
    progress.doing(["the look at one"])
    end = time.monotonic() + 10
    with progress.shown():
        while "[0/4] the look at one" not in shown.getvalue() and time.monotonic() < end:
            time.sleep(0.005)
        progress.say("a line")
    lines = shown.getvalue().splitlines()
    assert any("[0/4] the look at one" in line for line in lines)
    assert any("a line" in line for line in lines)

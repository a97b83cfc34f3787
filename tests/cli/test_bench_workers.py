"""A bench on two workers, killed, interrupted and begun again, learns what one process learns."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

FLAGS = (
    *("--methods=arc", "--seeds=0,1,2,3", "--engine.epochs=6", "--engine.batch_size=16"),
    *("--engine.precision=fp32", "--arc.r=4", "--data.augment=none"),
)


def workers(head: int) -> list[int]:
    """Numbers of the processes that do a bench's runs."""
    children = Path(f"/proc/{head}/task/{head}/children").read_text().split()
    return [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def came_of(out: Path) -> dict[str, object]:
    """What was learned and chosen, without times."""
    found: dict[str, object] = {}
    for file in sorted(out.rglob("result.json")):
        lines = (file.parent / "metrics.jsonl").read_text().splitlines()
        epochs = [json.loads(line) for line in lines]
        found[str(file.parent.relative_to(out))] = (
            json.loads(file.read_text())["test_accuracy"],
            [{k: v for k, v in epoch.items() if "second" not in k} for epoch in epochs],
        )
    for file in sorted(out.rglob("choice.json")):
        found[str(file.relative_to(out))] = json.loads(file.read_text())
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_what_two_workers_do_is_what_one_does(
    arcvit: Callable[..., Any], photos: Path, tiny: Path, tmp_path: Path
) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text(f"tasks: [{{name: one, path: {photos}, group: first}}]")

    def given(out: str) -> list[str]:
        return [str(suite), f"--backbone={tiny}", f"--out={tmp_path / out}", *FLAGS]

    def begin() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "arcvit.cli.main", "bench", *given("two"), "--jobs=2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
            # Where the tests run in the background, Ctrl-C is ignored, and stays so in children.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    def until(head: subprocess.Popen[str], text: str) -> None:
        assert head.stdout is not None
        seen = []
        for line in head.stdout:
            seen.append(line)
            if text in line:
                return
        raise AssertionError(f"{text!r} never came: {''.join(seen)}")

    def ended() -> str | None:
        return json.loads((tmp_path / "two" / "suite.json").read_text()).get("ended")

    assert arcvit("bench", *given("one")).code == 0
    with begin() as head:
        until(head, "[1/7]")
        os.kill(workers(head.pid)[0], signal.SIGKILL)
        until(head, "was ended by SIGKILL, as the system does where memory runs out; another")
        until(head, "[3/7]")
        started = workers(head.pid)
        head.kill()  # no time to end its workers
    end = time.monotonic() + 5
    while any(map(is_alive, started)) and time.monotonic() < end:
        time.sleep(0.01)
    assert len(started) == 2 and not any(map(is_alive, started))
    assert ended() == "was killed, or is still at work"
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "two").rglob("result.json")}
    assert len(before) >= 3
    with begin() as head:
        until(head, "/7]")
        head.send_signal(signal.SIGINT)
        until(head, "the same command resumes")
    assert ended() == "was interrupted"
    with begin() as head:
        until(head, "the runs are in")
    assert ended() is None
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert came_of(tmp_path / "two") == came_of(tmp_path / "one")

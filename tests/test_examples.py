"""The scripts of a day with one's own photos run as they stand."""

import csv
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
Arcvit = Callable[..., object]

pytestmark = pytest.mark.slow


def test_a_day_on_the_command_line(
    arcvit: Arcvit, photos: Path, short_run: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "day"
    options = [flag for flag in short_run if not flag.startswith("--data.path")]
    # Bash says what it would run; each command runs in this process, which has torch already.
    told = 'arcvit() { printf \'%q \' "$@"; echo; }; export -f arcvit; exec bash "$@"'
    script = [ROOT / "examples/day.sh", photos, photos / "test", out, *options]
    lines = subprocess.run(
        ["bash", "-c", told, "bash", *map(str, script)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    commands = [shlex.split(line) for line in lines]
    assert [command[0] for command in commands] == [
        *("data", "train", "report", "train", "compare", "predict", "embed", "merge")
    ]
    for command in commands:
        assert arcvit(*command).code == 0, command  # type: ignore[attr-defined]

    assert (out / "first" / "index.html").is_file()
    with open(out / "answers.csv", newline="") as file:
        answers = list(csv.DictReader(file))
    assert len(answers) == 32
    assert {answer["known"] for answer in answers} <= {"true", "false"}
    with np.load(out / "features.npz") as held:
        assert held["features"].shape == (32, 32)
    assert (out / "changed.csv").is_file()
    assert (out / "merged.safetensors").is_file()


def test_the_same_day_in_python(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [photos, photos / "test" / "red", tmp_path / "day", 1]
    monkeypatch.setattr(sys, "argv", ["day.py", *map(str, arguments)])
    runpy.run_path(str(ROOT / "examples/day.py"), run_name="__main__")
    said = capsys.readouterr().out
    for line in (
        " fixed, ",
        "new photos are like none",
        "features: (8, ",
        "on all photos: ",
        "folded: ",
    ):
        assert line in said
    assert len((tmp_path / "day" / "answers.csv").read_text().splitlines()) == 9

"""The benchmark of all VTAB-1k runs whole, in small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "vtab_scale.py"


@pytest.mark.slow
def test_its_made_data_are_taken_and_its_time_is_told_by_part(tmp_path):
    out = tmp_path / "scale.json"
    options = {"backbone": "test_vit", "tasks": "cifar", "share": 0.01, "epochs": 1}
    options |= {"device": "cpu", "folder": tmp_path / "scale", "out": out}
    command = [sys.executable, SCRIPT, *(f"--{key}={value}" for key, value in options.items())]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "overlap" not in ran.stdout and "different labels" not in ran.stdout
    record = json.loads(out.read_text())
    of_task = record["tasks"]["cifar"]
    assert {part for part, seconds in of_task.items() if seconds > 0} == set(of_task)
    assert sum(record["parts"].values()) == pytest.approx(record["command"])
    assert record["parts"]["elsewhere"] > 0

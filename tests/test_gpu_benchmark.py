"""The benchmark of a GPU runs whole on a CPU, in small."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_every_part_gives_a_result(tmp_path):
    out = tmp_path / "gpu.json"
    command = [sys.executable, BENCHMARKS / "gpu.py", "--device", "cpu", "--quick", "--out", out]
    ran = subprocess.run(
        [*command, "--modes", "eager", "graph"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    parts = json.loads(out.read_text())["parts"]
    assert {"check: a site", "check: a step", "step: 2 floor graph", "step: 2 arc eager"} <= {
        *parts
    }
    assert not [name for name, part in parts.items() if {"failed", "skipped"} & {*part}]
    assert parts["three VTAB tasks"]["all_19_tasks_minutes"] > 0
    assert "| 2 | graph | arc |" in ran.stdout


PARTS = """
import os
import sys
import time
from pathlib import Path
from gpu_parts import Parts, finished

parts = Parts({"device": "none"}, Path("out.json"), seconds=60)
parts.run("quick", 9, lambda: {"ms": 1.0})
parts.run("slow", 0.1 + 1, lambda: time.sleep(9) or {})
nested = "import subprocess; subprocess.run(['sleep', '30'])"
parts.run("nested", 1, lambda: finished([sys.executable, "-c", nested], env=os.environ))
parts.run("broken", 9, lambda: 1 / 0)
Parts({}, Path("none.json"), seconds=0).run("late", 9, dict)
"""


@pytest.mark.slow
def test_a_part_that_is_slow_or_fails_costs_no_other(tmp_path):
    subprocess.run(
        [sys.executable, "-c", PARTS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
    )
    parts = json.loads((tmp_path / "out.json").read_text())["parts"]
    assert parts["quick"]["ms"] == 1.0
    assert parts["slow"]["failed"] == "OutOfTimeError: more than 1 s"
    assert parts["nested"]["part_seconds"] < 9
    assert parts["broken"]["failed"] == "ZeroDivisionError: division by zero"
    late = json.loads((tmp_path / "none.json").read_text())["parts"]["late"]
    assert late["skipped"] == "no time left"

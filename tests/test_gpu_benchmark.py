"""The benchmark of a GPU runs whole on a CPU, in small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_every_part_gives_a_result(tmp_path):
    out = tmp_path / "gpu.json"
    command = [sys.executable, SCRIPT, "--device", "cpu", "--quick", "--out", out]
    ran = subprocess.run(
        [*command, "--modes", "eager", "graph"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    parts = json.loads(out.read_text())["parts"]
    assert {"checks: a site", "checks: a step", "step: 2 floor graph", "step: 2 arc graph"} <= {
        *parts
    }
    assert not [name for name, part in parts.items() if {"failed", "skipped"} & {*part}]
    losses = parts["checks: a step"]
    assert losses["graph"] == pytest.approx(losses["eager"], rel=0.01)

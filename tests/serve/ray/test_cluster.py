"""``arcvit serve --ray`` on a cluster of two nodes, of which one is killed under load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("fastapi")
pytest.importorskip("ray")

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "serve_ray.py"


@pytest.mark.slow
def test_nothing_is_wrong_or_lost(tmp_path: Path) -> None:
    out = tmp_path / "ray.json"
    # In a process of its own: Ray looks hosts up and leaves sockets behind.
    command = [sys.executable, str(SCRIPT), "--seconds=9", "--tasks=3", f"--out={out}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "the server ended with 0" in done.stdout
    found = json.loads(out.read_text(encoding="utf-8"))
    assert set(found["unload"]) == {404}
    assert set(found["load"]) == {200}
    assert (found["wrong"], found["lost"], found["refused"]) == (0, 0, 0)
    assert found["answered"] == found["accepted"] > 20

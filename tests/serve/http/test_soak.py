"""Half a minute of requests while adapters come, are replaced and go."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("starlette")

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "serve_http.py"

pytestmark = pytest.mark.slow


def test_nothing_is_wrong_lost_or_kept(tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    command = [sys.executable, str(SCRIPT), "soak", "--minutes", "0.5", "--out", str(out)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "the server ended with 0" in said
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["wrong"] == 0
    assert list(found["statuses"]) == ["200"]  # neither refused nor lost
    assert found["changes"] > 10
    # A photo has a quarter of a megabyte: if each were kept, it would be a hundred or more.
    assert found["statuses"]["200"] > 200
    assert found["grown"] < 20

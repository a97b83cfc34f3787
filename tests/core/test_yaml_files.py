"""YAML as people write it is read; tests/data/test_hostile.py has what only looks small."""

from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.core.yaml_files import read_yaml

GOOD = [
    ("", None),
    ("a: &x {r: 1}\nb: {<<: *x, k: 2}", {"a": {"r": 1}, "b": {"r": 1, "k": 2}}),
    ('path: "caf\\udce9"', {"path": "caf\udce9"}),
    ('{"a": [1, 2]}', {"a": [1, 2]}),
]


@pytest.mark.parametrize(("text", "value"), GOOD)
def test_what_is_read(tmp_path: Path, text: str, value: object) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    assert read_yaml(file) == value


@pytest.mark.parametrize("escape", ["", '# "\\ud800"\n'])
def test_depth_ends_in_a_sentence(tmp_path: Path, escape: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"{escape}a: " + "[" * 2000)
    with pytest.raises(UserError, match="nested more than 50 levels deep"):
        read_yaml(file)

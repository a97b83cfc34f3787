"""Scripts that no other test runs still find what they import from arcvit."""

import ast
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_it_imports_is_there(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("arcvit"):
            names = ", ".join(alias.name for alias in node.names)
            # As the script does it: a name may be a module that nothing has imported yet.
            exec(f"from {node.module} import {names}", {})

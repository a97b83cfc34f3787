"""The lowest versions that are tested are the lower bounds that are declared."""

import importlib.metadata
import os
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOWEST = dict(
    line.split("==") for line in (ROOT / "lowest.txt").read_text(encoding="utf-8").splitlines()
)
DECLARED = {
    match[1]: match[2]
    for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["transformers"]
    if (match := re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", requirement))
}


def release(version: str) -> list[int]:
    numbers = [int(part) for part in version.split(".")]
    return numbers + [0] * (3 - len(numbers))


@pytest.mark.parametrize("name", sorted(LOWEST.keys() & DECLARED.keys()))
def test_the_lower_bound_is_the_version_that_is_tested(name: str) -> None:
    assert release(LOWEST[name]) == release(DECLARED[name])


def test_timm_peft_transformers_and_accelerate_are_tested() -> None:
    assert {"timm", "peft", "transformers", "accelerate"} <= LOWEST.keys() & DECLARED.keys()


@pytest.mark.skipif(".lowest" not in os.environ.get("PYTHONPATH", ""), reason="make test-lowest")
@pytest.mark.parametrize(("name", "version"), LOWEST.items())
def test_the_job_runs_on_them(name: str, version: str) -> None:
    assert importlib.metadata.version(name) == version

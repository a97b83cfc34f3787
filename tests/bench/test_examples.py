"""The suites in examples/ are whole: their recipes, searches and rows are what arcvit reads."""

import argparse
from pathlib import Path

import pytest

from arcvit.bench.rows import bench_rows
from arcvit.bench.suite import load_suite
from arcvit.bench.trials import Bench
from arcvit.sweep.space import load_space

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["bundled", "fair"])
def test_a_suite_is_whole(name: str) -> None:
    suite = load_suite(str(EXAMPLES / f"{name}.yaml"))
    parser = argparse.ArgumentParser()
    for flag, default in (("methods", "arc"), ("search", "grid"), ("seeds", "0")):
        parser.add_argument(f"--{flag}", default=default)
    flags, _ = parser.parse_known_args(suite.flags)
    rows = bench_rows(flags.methods, None)
    space = load_space(flags.search, [row.method for row in rows])
    assert len({len(trials) for trials in space.values()}) == 1
    bench = Bench(suite=suite, rows=rows, seeds=(0,), space=space)
    for task in suite.tasks:
        bench.recipe_for(task, task.path, rows[0], 0)
    for row in rows:
        for settings in (bench.trials(row)[0], bench.trials(row)[-1]):
            bench.recipe_for(suite.tasks[0], "-", row, 0, settings)


@pytest.mark.parametrize(("asked", "found"), [(None, [4, 4, None]), (0, [None] * 3), (2, [2] * 3)])
def test_folds_are_those_of_the_suite_or_as_asked(asked: int | None, found: list[object]) -> None:
    suite = load_suite(str(EXAMPLES / "fair.yaml"))
    bench = Bench(suite=suite, rows=bench_rows("arc", None), seeds=(5, 6), folds=asked)
    assert [bench.tries(task)[0].folds for task in suite.tasks[:3]] == found
    assert bench.tries(suite.tasks[2])[0].seed == 5

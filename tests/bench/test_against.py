"""Paired differences: what is compared, how sure it is, and what is counted as ruined."""

import math
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes

from arcvit.bench.against import Against, compare
from arcvit.bench.against_views import picture, table
from arcvit.bench.collect import Collected, FinishedRun
from arcvit.bench.rows import RowName
from arcvit.core.errors import UserError
from arcvit.core.result import RunResult

ACCURACIES = {
    # task: row: accuracy by seed
    "one": {"arc": {0: 0.62, 1: 0.64}, "lora:r=2": {0: 0.60, 1: 0.60}, "linear": {0: 0.5}},
    "two": {"arc": {0: 0.40, 1: 0.42}, "lora:r=2": {0: 0.41, 1: 0.43}, "linear": {0: 0.1}},
}
SIZES = {"arc": 22_104, "lora:r=2": 20_736, "linear": 0}


def run(method: str, seed: int, accuracy: float) -> FinishedRun:
    values = {f.name: None for f in fields(RunResult)} | {
        "method": method,
        "seed": seed,
        "kind": "single",
        "metrics": {"test": {"accuracy": accuracy}},
        "test_accuracy": accuracy,
        "majority_share": 0.1,
        "params": {"adapter": SIZES[method], "head": 10, "total": SIZES[method] + 10},
    }
    return FinishedRun(folder=Path(), result=RunResult(**values))


@pytest.fixture
def collected() -> Collected:
    rows = tuple(RowName(method=method) for method in SIZES)
    return Collected(
        suite="mine",
        benchmark=False,
        groups=dict.fromkeys(ACCURACIES, "g"),
        rows=rows,
        runs={
            (task, row): tuple(run(row, seed, found) for seed, found in seeds.items())
            for task, of_task in ACCURACIES.items()
            for row, seeds in of_task.items()
        },
        chosen={},
        warnings={},
        notes=[],
        edges=[],
        ruined=Counter(linear=1),
        failures={},
        ended=None,
    )


def test_runs_of_the_same_task_and_seed_are_paired(collected: Collected) -> None:
    arc, lora, linear = compare(collected, "lora:r=2")
    # Differences in points: 2 and 4 on the first task, -1 and -1 on the second.
    assert arc.difference == pytest.approx(1)
    assert arc.error == pytest.approx(2)  # of 3 and -1: their deviation 2.83 over the root of 2
    assert arc.seed_error == pytest.approx(math.sqrt(2 / 2 + 0) / 2)
    assert (arc.won, arc.lost, arc.tasks) == (1, 1, 2)
    assert arc.mean == pytest.approx(52)
    assert (lora.difference, lora.error, lora.seed_error) == (0, 0, 0)
    # One seed alone: seed 0 of the reference stands beside it.
    assert linear.difference == pytest.approx((-10 - 31) / 2)
    assert linear.seed_error is None
    # One that answers one class for all, where others don't, and one without a result.
    assert (linear.ruined, linear.runs) == (2, 3)
    assert (arc.ruined, arc.runs) == (0, 4)


def test_a_row_that_isnt_there(collected: Collected) -> None:
    with pytest.raises(UserError, match=r"isn't a row of this bench: .*Did you mean 'lora:r=2'"):
        compare(collected, "lora:r=3")


def test_a_row_that_lacks_tasks_stands_by_its_difference(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {key: found for key, found in collected.runs.items() if key != ("two", "arc")}
    rows = compare(replace(collected, runs=runs), "lora:r=2")
    assert "| 63.0 (1 of 2 tasks) | +3.00 |" in table(rows, "lora:r=2", [])
    drawn: list[tuple[float, str]] = []
    errorbar = Axes.errorbar

    def watched(self: Axes, x: float, y: float, **look: Any) -> Any:
        drawn.append((y, look["label"]))
        return errorbar(self, x, y, **look)

    monkeypatch.setattr(Axes, "errorbar", watched)
    picture(rows, "lora:r=2")
    assert drawn[0] == (pytest.approx(51 + 3), "arc (1 of 2 tasks)")
    assert drawn[1] == (pytest.approx(51), "lora:r=2")


def test_the_table_and_the_picture() -> None:
    row = Against(
        label="$a|b$",
        reference="lora",
        trained=0,
        stored=10,
        mean=50.0,
        difference=None,
        error=None,
        seed_error=None,
        won=0,
        lost=0,
        tasks=0,
        ruined=1,
        runs=3,
    )
    text = table([row], "lora", ["a note"])
    assert r"| \$a\|b\$ | 0 | 10 | 50.0 | - | - | - | 0 of 0 | 0 of 0 | 1 of 3 |" in text
    assert text.endswith("- a note\n")
    beside = replace(row, label="lora", difference=0)
    assert picture([row, beside], "lora").startswith(b"\x89PNG")

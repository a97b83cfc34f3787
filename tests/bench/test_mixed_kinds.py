"""A suite whose tasks have one label an image, and several."""

from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from arcvit.bench.against import compare
from arcvit.bench.collect import Collected, FinishedRun
from arcvit.bench.report import _notes
from arcvit.bench.rows import RowName
from arcvit.bench.suite import load_suite
from arcvit.bench.table import table_rows
from arcvit.core.errors import UserError
from arcvit.core.result import RunResult

SIZES = {"adapter": 1, "head": 2, "total": 3}


def run(kind: str, metric: str, value: float) -> FinishedRun:
    made = {"kind": kind, "metrics": {"test": {metric: value}}, "params": SIZES, "seed": 0}
    made |= {"backbone": "demo", "seconds": {"train": 1.0}}
    values = {field.name: None for field in fields(RunResult)} | made
    return FinishedRun(folder=Path(), result=RunResult(**values))  # type: ignore[arg-type]


def collected(kinds: dict[str, tuple[str, str, float]]) -> Collected:
    return Collected(
        suite="mine",
        benchmark=False,
        groups=dict.fromkeys(kinds, "g"),
        rows=(RowName(method="arc"),),
        runs={(task, "arc"): (run(*about),) for task, about in kinds.items()},
        chosen={},
        warnings={},
        notes=[],
        edges=[],
        ruined=Counter(),
        failures={},
        ended=None,
    )


def test_there_is_no_mean_over_accuracy_and_map() -> None:
    single, several = ("single", "accuracy", 0.9), ("multilabel", "mAP", 0.5)
    mixed = collected({"cats": single, "beach": several})
    (row,) = table_rows(mixed)
    assert [cell and cell.mean for cell in row.tasks.values()] == [90, 50]
    assert (row.mean, row.group_mean, row.groups) == (None, None, {"g": None})
    assert _notes(mixed) == ["measured is accuracy of cats and mAP of beach: no mean over both"]
    with pytest.raises(UserError, match=r"different metrics \(accuracy of cats; mAP of beach\)"):
        compare(mixed, "arc")
    (row,) = table_rows(collected({"beach": several, "sea": ("multilabel", "mAP", 0.7)}))
    assert row.mean is not None
    assert row.mean.mean == pytest.approx(60)


@pytest.mark.parametrize("task", ["multilabel", "both"])
def test_a_suite_says_which_tasks_have_several(tmp_path: Path, task: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"tasks: [{{name: a, path: a.csv, group: g, task: {task}}}]")
    if task == "both":
        with pytest.raises(UserError, match="task is 'both': expected one of single, multilabel"):
            load_suite(str(file))
    else:
        assert load_suite(str(file)).tasks[0].kind == "multilabel"

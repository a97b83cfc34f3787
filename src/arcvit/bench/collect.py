"""The finished runs below a folder, by task and method. No torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcvit.bench.run_files import FAILURES_FILE, SUITE_FILE, TASK_FILE
from arcvit.core.errors import UserError
from arcvit.core.files import read_json
from arcvit.core.metrics import learned_nothing, read_metrics
from arcvit.core.result import RESULT_FILE, RunResult, read_result


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A final run of a bench.

    Attributes:
        folder: its run folder.
        result: what came out.
    """

    folder: Path
    result: RunResult


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What a bench has come to so far.

    Attributes:
        suite: name of the suite.
        benchmark: whether it is one of the benchmarks, with published figures.
        groups: the group of each task, in the order of the table.
        methods: the methods, in the order of the table.
        runs: finished runs by task and method, in the order of their seeds.
        warnings: what is odd about the data of a task or its runs, by task.
        failures: why a task and method couldn't be finished.
    """

    suite: str
    benchmark: bool
    groups: dict[str, str]
    methods: tuple[str, ...]
    runs: dict[tuple[str, str], tuple[FinishedRun, ...]]
    warnings: dict[str, list[str]]
    failures: dict[tuple[str, str], str]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the table."""
        return tuple(self.groups)


def collect(folder: Path) -> Collected:
    """Read what ``arcvit bench`` left in a folder; trials of a search don't count.

    Raises:
        UserError: the folder is none of a bench, or no run has finished.
    """
    if not (folder / SUITE_FILE).is_file():
        raise UserError(
            f"{str(folder)!r} holds no bench: expected {SUITE_FILE} in it; arcvit bench writes one"
            " with its runs."
        )
    suite = _read(folder / SUITE_FILE, {"suite": str, "groups": dict, "methods": list})
    groups: dict[str, str] = suite["groups"]
    runs: dict[tuple[str, str], tuple[FinishedRun, ...]] = {}
    warnings: dict[str, list[str]] = {}
    failures: dict[tuple[str, str], str] = {}
    for task in groups:
        warnings[task] = []
        if (folder / task / TASK_FILE).is_file():
            warnings[task] += _read(folder / task / TASK_FILE, {"warnings": list})["warnings"]
        if (folder / task / FAILURES_FILE).is_file():
            found = read_json(folder / task / FAILURES_FILE)
            failures |= {(task, method): reason for method, reason in found.items()}
        for method in suite["methods"]:
            finished = [
                FinishedRun(folder=file.parent, result=read_result(file.parent))
                for file in (folder / task / method).glob(f"seed-*/{RESULT_FILE}")
            ]
            if finished:
                finished.sort(key=lambda run: run.result.seed)
                runs[task, method] = tuple(finished)
        of_task = [run for method in suite["methods"] for run in runs.get((task, method), ())]
        skipped = max((run.result.skipped_images for run in of_task), default=0)
        if skipped:
            warnings[task].append(f"{skipped:,} unreadable images were left out of the runs")
        for run in of_task:
            complaint = learned_nothing(read_metrics(run.folder), run.result.classes)
            if complaint is not None:
                warnings[task].append(f"{run.result.method} seed {run.result.seed} {complaint}")
    if not runs:
        raise UserError(f"{str(folder)!r} holds no finished run yet: let arcvit bench finish one.")
    return Collected(
        suite=suite["suite"],
        benchmark=bool(suite.get("benchmark")),
        groups=groups,
        methods=tuple(suite["methods"]),
        runs=runs,
        warnings={task: found for task, found in warnings.items() if found},
        failures=failures,
    )


def _read(file: Path, expected: dict[str, type]) -> dict[str, Any]:
    record = read_json(file)
    for key, kind in expected.items():
        if not isinstance(record.get(key), kind):
            raise UserError(f"{file} is damaged: expected {key!r} in it; arcvit bench writes it.")
    return record

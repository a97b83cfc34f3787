"""The finished runs below a folder, by task and row. No torch."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcvit.bench.chosen import Chosen
from arcvit.bench.rows import RowName
from arcvit.bench.run_files import DATA_FILE, FAILURES_FILE, RUINED_FILE, SUITE_FILE
from arcvit.core.errors import UserError
from arcvit.core.files import read_json
from arcvit.core.metric import METRICS
from arcvit.core.metrics import learned_nothing, read_metrics
from arcvit.core.result import RESULT_FILE, RunResult, read_result
from arcvit.sweep.choose import CHOICE_FILE


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A final run of a bench.

    Attributes:
        folder: its run folder.
        result: what came out.
    """

    folder: Path
    result: RunResult

    @property
    def stored(self) -> int:
        """Numbers outside the head in the adapter's file, trained or not."""
        params = self.result.params
        return params.get("stored", params["adapter"])


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What a bench has come to so far.

    Attributes:
        suite: name of the suite.
        benchmark: whether it is one of the benchmarks, with published figures.
        groups: the group of each task, in the order of the table.
        rows: methods and backbones, in the order of the table.
        runs: finished runs by task and row, in the order of their seeds.
        chosen: what searches chose.
        warnings: what is odd about the data of a task or its runs, by task.
        notes: what is to be said of the rows.
        edges: tasks and rows whose best rate is the lowest or highest of those tried.
        ruined: final runs without a result by row, as their loss wasn't finite.
        failures: why a task and row couldn't be finished.
        ended: why the last ``arcvit bench`` of the folder didn't come to its end; None: it did.
    """

    suite: str
    benchmark: bool
    groups: dict[str, str]
    rows: tuple[RowName, ...]
    runs: dict[tuple[str, str], tuple[FinishedRun, ...]]
    chosen: Chosen
    warnings: dict[str, list[str]]
    notes: list[str]
    edges: list[tuple[str, str]]
    ruined: Counter[str]
    failures: dict[tuple[str, str], str]
    ended: str | None

    def metrics(self) -> dict[str, list[str]]:
        """The main metric with the tasks that it is of: accuracy, or mAP of several labels."""
        found: dict[str, list[str]] = {}
        for task in self.tasks:
            kinds = {
                run.result.kind
                for (name, _), runs in self.runs.items()
                for run in runs
                if name == task
            }
            for kind in sorted(kinds):
                found.setdefault(METRICS[kind][0], []).append(task)
        return found

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
            f"{str(folder)!r} holds no finished run and no bench: expected {RESULT_FILE}, which"
            f" arcvit train writes, or {SUITE_FILE}, which arcvit bench writes."
        )
    suite = _read(folder / SUITE_FILE, {"suite": str, "groups": dict, "rows": list})
    groups: dict[str, str] = suite["groups"]
    try:
        rows = tuple(RowName(**row) for row in suite["rows"])
    except TypeError as error:
        raise UserError(f"{folder / SUITE_FILE} is damaged: a row has other keys.") from error
    runs: dict[tuple[str, str], tuple[FinishedRun, ...]] = {}
    chosen: dict[str, dict[str, Any]] = {}
    edges: list[tuple[str, str]] = []
    ruined: Counter[str] = Counter()
    warnings: dict[str, list[str]] = {}
    failures: dict[tuple[str, str], str] = {}
    for task in groups:
        told = warnings[task] = []
        told += _beside(folder / task / DATA_FILE, told, {"warnings": list}).get("warnings", [])
        found = _beside(folder / task / FAILURES_FILE, told)
        failures |= {(task, row): str(reason) for row, reason in found.items()}
        for label, seeds in _beside(folder / task / RUINED_FILE, told).items():
            ruined[label] += len(seeds)
            told += [f"{label} seed {seed} was ruined: {reason}" for seed, reason in seeds.items()]
        of_task: list[tuple[RowName, FinishedRun]] = []
        for row in rows:
            place = folder / task / row.folder
            finished = []
            for seed in sorted(file.parent for file in place.glob(f"seed-*/{RESULT_FILE}")):
                try:
                    finished.append(FinishedRun(folder=seed, result=read_result(seed)))
                except UserError as error:
                    said = f"{row} {seed.name.replace('-', ' ')} is left out: {error}"
                    warnings[task].append(said)
            if finished:
                finished.sort(key=lambda run: run.result.seed)
                runs[task, str(row)] = tuple(finished)
                of_task += [(row, run) for run in finished]
            choice = _beside(place / "search" / CHOICE_FILE, told, {"settings": dict})
            if choice:
                chosen.setdefault(task, {})[str(row)] = choice["settings"]
            if choice.get("edge"):
                edges.append((task, str(row)))
        skipped = max((run.result.skipped_images for _, run in of_task), default=0)
        if skipped:
            warnings[task].append(f"{skipped:,} unreadable images were left out of the runs")
        for row, run in of_task:
            complaint = learned_nothing(read_metrics(run.folder), run.result.guessing_loss)
            if complaint is not None:
                warnings[task].append(f"{row} seed {run.result.seed} {complaint}")
    if not runs:
        raise UserError(f"{str(folder)!r} holds no finished run yet: let arcvit bench finish one.")
    return Collected(
        suite=suite["suite"],
        benchmark=bool(suite.get("benchmark")),
        groups=groups,
        rows=rows,
        runs=runs,
        chosen=chosen,
        warnings={task: found for task, found in warnings.items() if found},
        notes=list(suite.get("notes", [])),
        edges=edges,
        ruined=ruined,
        failures=failures,
        ended=suite.get("ended"),
    )


def _beside(file: Path, told: list[str], expected: dict[str, type] | None = None) -> dict[str, Any]:
    """What a file beside the results holds; nothing where it is damaged, which is told."""
    try:
        return _read(file, expected or {}) if file.is_file() else {}
    except UserError as error:
        told.append(f"{error} It is left out.")
        return {}


def _read(file: Path, expected: dict[str, type]) -> dict[str, Any]:
    record = read_json(file)
    for key, kind in expected.items():
        if not isinstance(record.get(key), kind):
            raise UserError(f"{file} is damaged: expected {key!r} in it; arcvit bench writes it.")
    return record

"""Run a suite: search, then the final runs with each seed, one after another in one process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from arcvit.bench.admission import admit
from arcvit.bench.rows import BenchRow
from arcvit.bench.run_files import FAILURES_FILE, SUITE_FILE
from arcvit.bench.suite import SuiteTask, locate
from arcvit.bench.trials import Bench
from arcvit.core.errors import UserError
from arcvit.core.files import read_json, write_json
from arcvit.core.metrics import learned_nothing, read_metrics
from arcvit.core.result import read_result
from arcvit.recipe.execute import execute
from arcvit.recipe.run import Run
from arcvit.sweep.choose import CHOICE_FILE, choose_settings
from arcvit.sweep.space import label


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A task and row that couldn't be finished.

    Attributes:
        task: name of the task.
        row: method and backbone.
        reason: the sentence that says why.
    """

    task: str
    row: str
    reason: str


def run_bench(bench: Bench, root: Path | None, out: Path, console: Console) -> list[Failure]:
    """Run what isn't finished yet, below ``out/TASK/ROW``; what failed.

    A finished run is never run again; an unfinished one is resumed. Whatever goes wrong with a task
    or a method is left in its ``failures.json``, and the rest goes on.

    Raises:
        UserError: tasks aren't there.
    """
    places = locate(bench.suite, root)
    _write_suite(bench, out)
    failures = []
    for task in bench.suite.tasks:
        found = _run_task(bench, task, places[task.name], out / task.name, console)
        _record_failures(found, bench, out / task.name)
        failures += [Failure(task=task.name, row=row, reason=why) for row, why in found.items()]
    return failures


def _run_task(
    bench: Bench, task: SuiteTask, path: Path, folder: Path, console: Console
) -> dict[str, str]:
    """Run each row; the reason by row of what failed."""
    try:
        admit(task, bench.recipe_for(task, path, bench.rows[0], bench.seeds[0]), folder, console)
    except Exception as error:  # whatever it is, the other tasks go on
        reason = _reason(error)
        _say(console, f"{task.name} failed: {reason}")
        return {str(row.name): reason for row in bench.rows}
    failed = {}
    for row in bench.rows:
        try:
            _run_row(bench, task, path, row, folder / row.name.folder, console)
        except Exception as error:  # whatever it is, the other rows go on
            failed[str(row.name)] = _reason(error)
            _say(console, f"{task.name} {row.name} failed: {_reason(error)}")
    return failed


def _reason(error: Exception) -> str:
    """The sentence for the user; of an error that is none of his, its class too."""
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _run_row(
    bench: Bench, task: SuiteTask, path: Path, row: BenchRow, folder: Path, console: Console
) -> None:
    first = bench.seeds[0]
    settings = bench.chosen(task, row)
    if bench.settings is not None:
        write_json(folder / "search" / CHOICE_FILE, {"settings": dict(settings), "trials": []})
    if bench.trials(row):
        trials = ((s, bench.recipe_for(task, path, row, first, s)) for s in bench.trials(row))
        settings = choose_settings(trials, folder / "search", console)
    chosen = label(settings)
    for seed in bench.seeds:
        recipe = bench.recipe_for(task, path, row, seed, settings)
        run = Run(recipe, folder / f"seed-{recipe.seed}", keep_predictions=True)
        if run.is_finished:
            run.check_same()
            state = "finished before"
        else:
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            execute(run, console, quiet=True, looked=True)
            state = "done"
        result = read_result(run.folder)
        shown = "-" if result.test_accuracy is None else f"{result.test_accuracy:.1%}"
        _say(
            console,
            f"{task.name} {row.name} seed {seed} {chosen or f'lr {recipe.optim.lr:g}'}:"
            f" test {shown}, {state} ({sum(result.seconds.values()):.0f} s)",
        )
        complaint = learned_nothing(read_metrics(run.folder), result.classes)
        if complaint is not None:
            _say(console, f"warning: {task.name} {row.name} seed {seed} {complaint}")


def _record_failures(failed: dict[str, str], bench: Bench, folder: Path) -> None:
    """Leave the reasons for the report; those of rows that weren't run now stay."""
    file = folder / FAILURES_FILE
    earlier: dict[str, str] = read_json(file) if file.is_file() else {}
    now = {str(row.name) for row in bench.rows}
    kept = {row: reason for row, reason in earlier.items() if row not in now} | failed
    if kept != earlier:
        write_json(file, kept)


def _write_suite(bench: Bench, out: Path) -> None:
    """Leave what the report needs; tasks and rows of earlier calls stay in the table."""
    file = out / SUITE_FILE
    suite = bench.suite
    named = {"suite": suite.name, "benchmark": suite.benchmark}
    earlier: dict[str, Any] = read_json(file) if file.is_file() else {}
    if earlier and {key: earlier.get(key) for key in named} != named:
        raise UserError(
            f"{str(out)!r} holds another suite, {earlier.get('suite')}: choose another --out."
        )
    groups = dict(earlier.get("groups", {})) | {t.name: t.group for t in suite.tasks}
    order = [name for name in suite.order if name in groups]
    order += [name for name in groups if name not in order]
    rows = earlier.get("rows", [])
    rows += [row.name.to_dict() for row in bench.rows if row.name.to_dict() not in rows]
    groups = {name: groups[name] for name in order}
    write_json(file, {**named, "groups": groups, "rows": rows})


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)

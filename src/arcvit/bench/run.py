"""Run a suite: search, then the final runs with each seed, one after another in one process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from arcvit.bench.run_files import SUITE_FILE, TASK_FILE
from arcvit.bench.suite import SuiteTask, locate
from arcvit.bench.trials import Bench
from arcvit.core.errors import UserError
from arcvit.core.files import read_json, write_json
from arcvit.core.result import is_finished, read_result
from arcvit.recipe.execute import execute
from arcvit.recipe.prepare import open_recipe_task
from arcvit.recipe.recipe import Recipe
from arcvit.sweep.choose import choose_settings, refuse_other_settings
from arcvit.sweep.space import Settings, label


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A task and method that couldn't be finished.

    Attributes:
        task: name of the task.
        method: the method.
        reason: the sentence that says why.
    """

    task: str
    method: str
    reason: str


def run_bench(bench: Bench, root: Path | None, out: Path, console: Console) -> list[Failure]:
    """Run what isn't finished yet, below ``out/TASK/METHOD``; what failed.

    A finished run is never run again; an unfinished one is resumed.

    Raises:
        UserError: tasks aren't there.
    """
    places = locate(bench.suite, root)
    _write_suite(bench, out)
    failures = []
    for task in bench.suite.tasks:
        for method in bench.methods:
            try:
                _run_method(bench, task, places[task.name], method, out, console)
            except (UserError, MemoryError, OSError) as error:
                failures.append(Failure(task=task.name, method=method, reason=str(error)))
                _say(console, f"{task.name} {method} failed: {error}")
    return failures


def _run_method(
    bench: Bench, task: SuiteTask, path: Path, method: str, out: Path, console: Console
) -> None:
    folder = out / task.name / method
    first = bench.seeds[0]
    _record_task(task, bench.recipe_for(task, path, method, first), folder.parent, console)
    settings: Settings = {}
    if bench.space is not None:
        trials = ((s, bench.recipe_for(task, path, method, first, s)) for s in bench.space[method])
        settings = choose_settings(trials, folder / "search", console)
    chosen = label(settings)
    for seed in bench.seeds:
        recipe = bench.recipe_for(task, path, method, seed, settings)
        run = folder / f"seed-{recipe.seed}"
        if is_finished(run):
            refuse_other_settings(run, recipe)
            state = "finished before"
        else:
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            execute(recipe, run, console, quiet=True, keep_predictions=True)
            state = "done"
        result = read_result(run)
        shown = "-" if result.test_accuracy is None else f"{result.test_accuracy:.1%}"
        _say(
            console,
            f"{task.name} {method} seed {seed} {chosen or f'lr {recipe.optim.lr:g}'}: test {shown},"
            f" {state} ({sum(result.seconds.values()):.0f} s)",
        )


def _record_task(task: SuiteTask, recipe: Recipe, folder: Path, console: Console) -> None:
    """Count the images once, and say loudly where they aren't those of the benchmark."""
    if (folder / TASK_FILE).is_file():
        return
    opened = open_recipe_task(recipe)
    counts = {name: len(split) for name, split in opened.splits.items()}
    warnings = []
    if task.record is not None:
        for name, count in counts.items():
            expected = task.record.counts.get(name)
            if expected is not None and expected != count:
                warnings.append(f"{name} has {count:,} images, the benchmark {expected:,}")
        if len(opened.classes) != task.record.classes:
            warnings.append(
                f"{len(opened.classes)} classes, the benchmark has {task.record.classes}"
            )
    for warning in warnings:
        _say(console, f"warning: {task.name}: {warning}")
    write_json(folder / TASK_FILE, {"counts": counts, "warnings": warnings})


def _write_suite(bench: Bench, out: Path) -> None:
    """Leave what the report needs; tasks and methods of earlier calls stay in the table."""
    file = out / SUITE_FILE
    earlier: dict[str, Any] = read_json(file) if file.is_file() else {}
    if earlier and earlier.get("suite") != bench.suite.name:
        raise UserError(
            f"{str(out)!r} holds suite {earlier.get('suite')}, not {bench.suite.name}: choose"
            " another --out."
        )
    groups = dict(earlier.get("groups", {})) | {t.name: t.group for t in bench.suite.tasks}
    methods = dict.fromkeys([*earlier.get("methods", []), *bench.methods])
    write_json(file, {"suite": bench.suite.name, "groups": groups, "methods": list(methods)})


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)

"""Run a suite: search, then the final runs with each seed, one after another in one process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from arcvit.bench.admission import admit
from arcvit.bench.run_files import FAILURES_FILE, SUITE_FILE
from arcvit.bench.suite import SuiteTask, locate
from arcvit.bench.trials import Bench
from arcvit.core.errors import UserError
from arcvit.core.files import read_json, write_json
from arcvit.core.metrics import learned_nothing, read_metrics
from arcvit.core.result import read_result
from arcvit.recipe.execute import execute
from arcvit.recipe.run import Run
from arcvit.sweep.choose import choose_settings
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
        _record_failures(found, bench.methods, out / task.name)
        failures += [Failure(task=task.name, method=m, reason=r) for m, r in found.items()]
    return failures


def _run_task(
    bench: Bench, task: SuiteTask, path: Path, folder: Path, console: Console
) -> dict[str, str]:
    """Run each method; the reason by method of what failed."""
    try:
        admit(task, bench.recipe_for(task, path, bench.methods[0], bench.seeds[0]), folder, console)
    except Exception as error:  # whatever it is, the other tasks go on
        reason = _reason(error)
        _say(console, f"{task.name} failed: {reason}")
        return dict.fromkeys(bench.methods, reason)
    failed = {}
    for method in bench.methods:
        try:
            _run_method(bench, task, path, method, folder / method, console)
        except Exception as error:  # whatever it is, the other methods go on
            failed[method] = _reason(error)
            _say(console, f"{task.name} {method} failed: {failed[method]}")
    return failed


def _reason(error: Exception) -> str:
    """The sentence for the user; of an error that is none of his, its class too."""
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _run_method(
    bench: Bench, task: SuiteTask, path: Path, method: str, folder: Path, console: Console
) -> None:
    first = bench.seeds[0]
    settings: Settings = {}
    if bench.space is not None:
        trials = ((s, bench.recipe_for(task, path, method, first, s)) for s in bench.space[method])
        settings = choose_settings(trials, folder / "search", console)
    chosen = label(settings)
    for seed in bench.seeds:
        recipe = bench.recipe_for(task, path, method, seed, settings)
        run = Run(recipe, folder / f"seed-{recipe.seed}", keep_predictions=True)
        if run.is_finished:
            run.check_same()
            state = "finished before"
        else:
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            execute(run, console, quiet=True)
            state = "done"
        result = read_result(run.folder)
        shown = "-" if result.test_accuracy is None else f"{result.test_accuracy:.1%}"
        _say(
            console,
            f"{task.name} {method} seed {seed} {chosen or f'lr {recipe.optim.lr:g}'}: test {shown},"
            f" {state} ({sum(result.seconds.values()):.0f} s)",
        )
        complaint = learned_nothing(read_metrics(run.folder), result.classes)
        if complaint is not None:
            _say(console, f"warning: {task.name} {method} seed {seed} {complaint}")


def _record_failures(failed: dict[str, str], methods: tuple[str, ...], folder: Path) -> None:
    """Leave the reasons for the report; those of methods that weren't run now stay."""
    file = folder / FAILURES_FILE
    earlier: dict[str, str] = read_json(file) if file.is_file() else {}
    kept = {m: reason for m, reason in earlier.items() if m not in methods} | failed
    if kept != earlier:
        write_json(file, kept)


def _write_suite(bench: Bench, out: Path) -> None:
    """Leave what the report needs; tasks and methods of earlier calls stay in the table."""
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
    methods = dict.fromkeys([*earlier.get("methods", []), *bench.methods])
    groups = {name: groups[name] for name in order}
    write_json(file, {**named, "groups": groups, "methods": list(methods)})


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)

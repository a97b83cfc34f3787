"""Run a suite: search, then the final runs with each seed, on whatever workers there are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from arcvit.bench.course import Course
from arcvit.bench.progress import Progress
from arcvit.bench.run_files import BENCH_FILES, FAILURES_FILE, RUINED_FILE, SUITE_FILE
from arcvit.bench.sizes import Sizes, sizes_of
from arcvit.bench.store import Store
from arcvit.bench.suite import SuiteTask, locate
from arcvit.bench.trials import Bench
from arcvit.core.errors import UserError
from arcvit.core.files import read_json, settle, write_json
from arcvit.core.lock import locked
from arcvit.engine.config import Precision
from arcvit.executors.job import Call, Job, Outcome
from arcvit.executors.schedule import Executor, run_jobs


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


def run_bench(
    bench: Bench,
    root: Path | None,
    out: Path,
    executor: Executor,
    console: Console,
    store: Store | None = None,
) -> list[Failure]:
    """Run what isn't finished yet, below ``out/TASK/ROW``; what failed.

    A finished run is never run again; an unfinished one is resumed. Whatever goes wrong with a task
    or a method is left in its ``failures.json``, and the rest goes on.

    Args:
        bench: the tasks and rows.
        root: folder of the tasks.
        out: folder of the runs.
        executor: the workers. It is left open.
        console: where progress is shown.
        store: where workers put their runs that share no disk with ``out``; what has finished
            there is brought here, and what belongs to no run put there too.

    Raises:
        UserError: tasks aren't there, another process works in ``out``, or the store can't be
            used.
    """
    places = locate(bench.suite, root)
    with locked(out):
        for folder in (out, *out.glob("*"), *out.glob("*/*/search")):
            settle(folder)
        if store is not None:
            store.fetch_all(out, BENCH_FILES)
        _write_suite(bench, out)
        sizes = {task.name: _sizes(bench, task, root) for task in bench.suite.tasks}
        with _ending(out, store):
            course = Course(bench, places, sizes, out, _precision(bench, out, executor), store)
            progress = Progress(console, course.entries, executor.size, out)
            try:
                with progress.shown():
                    run_jobs(course.jobs(progress), executor, progress.say, progress.doing)
            finally:
                failures = [
                    Failure(task=entry.task.name, row=str(entry.row.name), reason=entry.failure)
                    for entry in course.entries
                    if entry.failure is not None
                ]
                _record_failures(failures, bench, out)
                _record_ruined(course, bench, out)
    return failures


@contextmanager
def _ending(out: Path, store: Store | None) -> Iterator[None]:
    """Leave how the command ended, which is no failure of any run; and all of it in the store."""

    def ended(how: str | None) -> None:
        suite = {k: v for k, v in read_json(out / SUITE_FILE).items() if k != "ended"}
        write_json(out / SUITE_FILE, suite | ({} if how is None else {"ended": how}))

    ended("was killed, or is still at work")
    try:
        yield
    except KeyboardInterrupt:
        ended("was interrupted")
        raise
    except Exception as error:
        name = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        ended(f"ended with an error: {name}{' '.join(str(error).split())}")
        raise
    else:
        ended(None)
    finally:
        if store is not None:
            store.put_files(out, [file for p in BENCH_FILES for file in sorted(out.glob(p))])


def _sizes(bench: Bench, task: SuiteTask, root: Path | None) -> Sizes | None:
    """For the time left; what is wrong with a task is said when it is looked at."""
    recipe = bench.recipe_for(task, task.path, bench.rows[0], bench.seeds[0])
    try:
        return sizes_of(task, root, recipe)
    except UserError:
        return None


def _precision(bench: Bench, out: Path, executor: Executor) -> Precision:
    """What ``auto`` stands for in all runs: the choice of a worker, kept for later starts.

    Workers that chose for themselves might not agree, nor one with itself the day after.
    """
    suite = read_json(out / SUITE_FILE)
    if "precision" in suite:
        return cast(Precision, suite["precision"])
    recipe = bench.recipe_for(bench.suite.tasks[0], "-", bench.rows[0], bench.seeds[0])
    chosen: list[Precision] = []

    def keep(outcome: Outcome) -> list[Job]:
        if outcome.failure is not None:
            raise UserError(outcome.failure)
        chosen.append(outcome.value)
        return []

    call = Call(
        function="arcvit.bench.work:settle_precision", arguments={"recipe": recipe.to_dict()}
    )
    run_jobs([Job(name="the choice of a precision", call=call, then=keep)], executor, print)
    write_json(out / SUITE_FILE, suite | {"precision": chosen[0]})
    return chosen[0]


def _record_failures(failures: list[Failure], bench: Bench, out: Path) -> None:
    """Leave the reasons for the report; those of rows that weren't run now stay."""
    now = {str(row.name) for row in bench.rows}
    for task in bench.suite.tasks:
        file = out / task.name / FAILURES_FILE
        earlier: dict[str, str] = _earlier(file)
        kept = {row: reason for row, reason in earlier.items() if row not in now}
        kept |= {failure.row: failure.reason for failure in failures if failure.task == task.name}
        if kept != earlier:
            write_json(file, kept)


def _record_ruined(course: Course, bench: Bench, out: Path) -> None:
    """Leave which seeds of which rows have no result, as their loss wasn't finite."""
    now = {str(row.name) for row in bench.rows}
    for task in bench.suite.tasks:
        file = out / task.name / RUINED_FILE
        earlier: dict[str, dict[str, str]] = _earlier(file)
        kept = {row: seeds for row, seeds in earlier.items() if row not in now}
        for entry in course.entries:
            if entry.task is task and entry.ruined:
                kept[str(entry.row.name)] = {str(s): why for s, why in entry.ruined.items()}
        if kept != earlier:
            write_json(file, kept)


def _earlier(file: Path) -> dict[str, Any]:
    """What an earlier call left; nothing where it is damaged, as it is written anew."""
    try:
        return read_json(file) if file.is_file() else {}
    except UserError:
        return {}


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
    notes = dict.fromkeys([*earlier.get("notes", []), *bench.notes])
    write_json(file, {**earlier, **named, "groups": groups, "rows": rows, "notes": list(notes)})

"""The finished runs below a folder, by task and method. No torch."""

from dataclasses import dataclass
from pathlib import Path

from arcvit.bench.run_files import SUITE_FILE, TASK_FILE
from arcvit.core.errors import UserError
from arcvit.core.files import read_json
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
        groups: the group of each task, in the order of the table.
        methods: methods with a finished run, in the order of the table.
        runs: finished runs by task and method, in the order of their seeds.
        warnings: what is wrong with the data of a task, by task.
    """

    suite: str
    groups: dict[str, str]
    methods: tuple[str, ...]
    runs: dict[tuple[str, str], tuple[FinishedRun, ...]]
    warnings: dict[str, list[str]]

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
    suite = read_json(folder / SUITE_FILE)
    groups: dict[str, str] = suite["groups"]
    runs: dict[tuple[str, str], tuple[FinishedRun, ...]] = {}
    warnings: dict[str, list[str]] = {}
    for task in groups:
        if (folder / task / TASK_FILE).is_file():
            found = read_json(folder / task / TASK_FILE)["warnings"]
            warnings |= {task: found} if found else {}
        for method in suite["methods"]:
            finished = [
                FinishedRun(folder=file.parent, result=read_result(file.parent))
                for file in (folder / task / method).glob(f"seed-*/{RESULT_FILE}")
            ]
            if finished:
                finished.sort(key=lambda run: run.result.seed)
                runs[task, method] = tuple(finished)
    if not runs:
        raise UserError(f"{str(folder)!r} holds no finished run yet: let arcvit bench finish one.")
    methods = tuple(m for m in suite["methods"] if any((t, m) in runs for t in groups))
    return Collected(
        suite=suite["suite"], groups=groups, methods=methods, runs=runs, warnings=warnings
    )

"""``arcvit data list``: the benchmark tasks, and where their images come from."""

import dataclasses
import itertools
import json

from rich.table import Table
from rich.text import Text

from arcvit.cli.parser import command_parser
from arcvit.core.console import PlainConsole
from arcvit.data.catalogue import SUITES, TASKS, BenchmarkTask, suite_tasks
from arcvit.data.origins import ORIGINS, Origin


def run(argv: list[str]) -> int:
    """Print the catalogue as tables, or as JSON."""
    parser = command_parser(
        "data list",
        "The benchmark tasks: names, classes, images per split; and the data sets they are made"
        " from: page, size, licence or terms of use.",
    )
    parser.add_argument("--suite", choices=SUITES, help="The tasks of one suite only.")
    parser.add_argument("--json", action="store_true", help="Print one JSON list.")
    options = parser.parse_args(argv)
    tasks = suite_tasks(options.suite) if options.suite else TASKS
    if options.json:
        print(json.dumps([_record(task) for task in tasks], indent=2))
        return 0
    console = PlainConsole()
    console.print(_tasks(tasks))
    console.print()
    _print_origins(tasks, console)
    return 0


def _record(task: BenchmarkTask) -> dict[str, object]:
    origin = dataclasses.asdict(ORIGINS[task.name])
    return {**dataclasses.asdict(task), "origin": origin}


def _tasks(tasks: tuple[BenchmarkTask, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("task", no_wrap=True)
    for name in ("classes", "train", "val", "test"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("also called")
    for group, members in itertools.groupby(tasks, key=lambda task: (task.suite, task.group)):
        table.add_row(Text(", ".join(group), style="bold"))
        for task in members:
            numbers = (task.classes, task.train, task.val, task.test)
            shown = (f"{number:,}" for number in numbers)
            table.add_row(f"  {task.name}", *shown, ", ".join(task.aliases))
    return table


def _print_origins(tasks: tuple[BenchmarkTask, ...], console: PlainConsole) -> None:
    """Each data set, with its page on a line of its own; several tasks may be made from one."""
    names: dict[Origin, list[str]] = {}
    for task in tasks:
        names.setdefault(ORIGINS[task.name], []).append(task.name)
    for origin, of_tasks in names.items():
        size = _size(origin.download_bytes)
        told = f": {origin.name}, {origin.images:,} images, {size}; {origin.terms}"
        console.print(Text.assemble((", ".join(of_tasks), "bold"), told))
        console.print(f"  {origin.page}", soft_wrap=True)


def _size(count: int | None) -> str:
    if count is None:
        return "size unknown"
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"

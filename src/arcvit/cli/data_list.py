"""``arcvit data list``: the benchmark tasks."""

import dataclasses
import itertools
import json

from rich.table import Table
from rich.text import Text

from arcvit.cli.parser import command_parser
from arcvit.core.console import PlainConsole
from arcvit.data.catalogue import SUITES, TASKS, suite_tasks


def run(argv: list[str]) -> int:
    """Print the catalogue as a table, or as JSON."""
    parser = command_parser("data list", "The benchmark tasks: names, classes, images per split.")
    parser.add_argument("--suite", choices=SUITES, help="The tasks of one suite only.")
    parser.add_argument("--json", action="store_true", help="Print one JSON list.")
    options = parser.parse_args(argv)
    tasks = suite_tasks(options.suite) if options.suite else TASKS
    if options.json:
        print(json.dumps([dataclasses.asdict(task) for task in tasks], indent=2))
        return 0
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
    PlainConsole().print(table)
    return 0

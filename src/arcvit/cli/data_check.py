"""``arcvit data check``: recognise a task's layout and look for what would spoil a result."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from arcvit.cli.parser import apart_from_data, command_parser
from arcvit.core.console import PlainConsole
from arcvit.core.errors import UserError, nearest
from arcvit.core.shown import plain
from arcvit.core.task import Kind

if TYPE_CHECKING:
    from arcvit.data.catalogue import BenchmarkTask
    from arcvit.data.check.report import SplitReport, TaskReport
    from arcvit.data.findings import Finding

_SPOILT = 1
_STYLE = {"spoils": "bold red", "warning": "yellow", "note": "dim"}
_SIZES_SHOWN = 4
_CLASSES_SHOWN = 40


def run(argv: list[str]) -> int:
    """Check a task, or each task in a folder of tasks; 1 where one would spoil a result."""
    parser = command_parser(
        "data check",
        "Recognise a task's layout, count its images, and look for what would spoil a result:"
        " missing and unreadable files, wrong labels, images that are in two splits. Exit code 1"
        " where there is such a thing. Takes the flags --data.* of arcvit train.",
    )
    parser.add_argument(
        "path", type=Path, metavar="PATH", help="A task's folder or table, or a folder of tasks."
    )
    parser.add_argument(
        "--task",
        choices=get_args(Kind),
        default="single",
        help="Whether an image has one label or any number of them, as with arcvit train.",
    )
    parser.add_argument(
        "--benchmark",
        help="Which benchmark task it is (see arcvit data list); in a folder of tasks, check that"
        " one alone. Default: by the folder's name.",
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON list.")
    own, flags = apart_from_data(argv)
    options = parser.parse_args(own)

    from arcvit.data.check.report import check_task
    from arcvit.data.readers.layouts import require_path
    from arcvit.recipe.parser import data_flags

    path = options.path.expanduser()
    require_path(path)
    tasks, known = _which(path, options.benchmark)
    data = data_flags(flags)
    if "path" in data:
        raise UserError("--data.path isn't expected here: PATH alone says what is checked.")
    console = PlainConsole()
    reports = []
    screen = PlainConsole(stderr=True)
    # Where no terminal is, a bar would leave an empty line.
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:

        def start(name: str) -> Callable[[int], Callable[[int], None]]:
            def begin(total: int) -> Callable[[int], None]:
                bar = progress.add_task(escape(plain(name)), total=total)
                return lambda done: progress.update(bar, completed=done)

            return begin

        for task in tasks:
            reports.append(
                check_task(
                    task,
                    kind=options.task,
                    benchmark=known,
                    data=data,
                    start=start(task.name),
                )
            )
    lacking, twice = _lacking(path, tasks, reports)
    if options.json:
        print(json.dumps([report.to_dict() for report in reports], indent=2))
    else:
        for report in reports:
            _show(report, console)
        for sentence in lacking:
            console.print(sentence, soft_wrap=True)
    return _SPOILT if twice or any(report.spoilt for report in reports) else 0


def _which(path: Path, name: str | None) -> "tuple[list[Path], BenchmarkTask | None]":
    """The tasks to check, and which benchmark task it is where that was said."""
    from arcvit.data.catalogue import SUITES, find_task, recognise
    from arcvit.data.check.report import BENCHMARK_LAYOUTS
    from arcvit.data.readers.layouts import layout_of
    from arcvit.data.readers.roots import tasks_in

    tasks = tasks_in(path)
    if name is None:
        return tasks, None
    if tasks != [path]:
        same = [task for task in tasks if task.name == name]
        if not same:
            asked = [task for suite in SUITES if (task := recognise(name, suite=suite))]
            same = [
                t for t in tasks for known in asked if recognise(t.name, suite=known.suite) == known
            ]
        if len(same) != 1:
            there = [task.name for task in tasks]
            raise UserError(
                f"{path} has no task {name!r}: expected one of {', '.join(there)}."
                f"{nearest(name, there)}"
            )
        return same, None
    suite = BENCHMARK_LAYOUTS.get(layout_of(path) or "")
    return tasks, find_task(name, suite=suite)


def _lacking(path: Path, tasks: list[Path], reports: "list[TaskReport]") -> tuple[list[str], bool]:
    """For each suite of which a folder holds tasks, what is there and what not.

    Returns:
        Sentences, and whether there are two folders for one task.
    """
    from arcvit.data.catalogue import SUITES
    from arcvit.data.check.report import BENCHMARK_LAYOUTS
    from arcvit.data.readers.roots import find_suite

    if tasks == [path]:
        return [], False
    layouts = {report.layout for report in reports}
    suites = {BENCHMARK_LAYOUTS[layout] for layout in layouts if layout in BENCHMARK_LAYOUTS}
    sentences, twice = [], False
    for suite in SUITES:
        if suite in suites:
            try:
                sentences.append(find_suite(path, suite).sentence())
            except UserError as error:
                sentences.append(str(error))
                twice = True
    return sentences, twice


def _show(report: "TaskReport", console: Console) -> None:
    console.print(Text(plain(report.path), style="bold"))
    named = {"benchmark": report.benchmark or "none known by this name", "layout": report.layout}
    named |= {"classes": f"{report.classes:,}", "images in": str(report.images)}
    named["formats"] = ", ".join(f"{count:,} {name}" for name, count in report.formats.items())
    named["pixels"] = _sizes(report.sizes)
    named["preset"] = f"{report.preset} (arcvit train: --data.preset {report.preset})"
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in named.items():
        facts.add_row(f"  {name}", value or "-")
    console.print(facts)
    splits = Table(box=None, header_style="bold")
    splits.add_column("split")
    several = report.kind == "multilabel"
    for name in ("images", "expected", "classes", "no label" if several else "labels"):
        splits.add_column(name, justify="right", no_wrap=True)
    splits.add_column("")
    for name, split in report.splits.items():
        splits.add_row(name, *_cells(split, several=several))
    if report.splits:
        console.print(splits)
    if report.kind == "multilabel" and report.splits:
        console.print(_classes(report))
    for finding in report.findings:
        console.print(_line(finding), soft_wrap=True)
    console.print(Text(f"  {_verdict(report)}", style="bold"))
    console.print()


def _classes(report: "TaskReport") -> Table:
    """The images of each class, by split."""
    table = Table(box=None, header_style="bold")
    table.add_column("class")
    for split in report.splits:
        table.add_column(split, justify="right")
    for name, counts in list(report.class_counts.items())[:_CLASSES_SHOWN]:
        table.add_row(plain(name), *(f"{count:,}" for count in counts.values()))
    more = len(report.class_counts) - _CLASSES_SHOWN
    if more > 0:
        table.add_row(f"and {more:,} more, see --json")
    return table


def _cells(split: "SplitReport", *, several: bool) -> tuple[str, str, str, str, Text]:
    expected = "-" if split.expected is None else f"{split.expected:,}"
    labels = "-" if split.labels is None else f"{split.labels[0]}-{split.labels[1]}"
    if several:
        labels = f"{split.unlabelled:,}"
    differs = split.expected is not None and split.expected != split.images
    remark = Text("differs", style="bold red") if differs else Text("")
    if split.held_out:
        remark = Text("held out", style="dim")
    return f"{split.images:,}", expected, f"{split.classes:,}", labels, remark


def _line(finding: "Finding") -> Text:
    return Text.assemble(
        "  ",
        (f"{finding.severity}", _STYLE[finding.severity]),
        f" [{finding.kind}] {plain(finding.text)}",
    )


def _sizes(sizes: dict[str, int]) -> str:
    shown = [f"{size} ({count:,})" for size, count in list(sizes.items())[:_SIZES_SHOWN]]
    if len(sizes) > _SIZES_SHOWN:
        shown.append(f"{len(sizes) - _SIZES_SHOWN:,} other sizes")
    return ", ".join(shown)


def _verdict(report: "TaskReport") -> str:
    counts = {
        severity: sum(finding.severity == severity for finding in report.findings)
        for severity in ("spoils", "warning")
    }
    if counts["spoils"]:
        return f"{counts['spoils']} thing(s) would spoil a result"
    if counts["warning"]:
        return f"usable, {counts['warning']} warning(s)"
    return "fine"

"""``arcvit bench``: run a suite of tasks with several methods, searched and seeded alike."""

import argparse
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from arcvit.bench.devices import DEVICES, find_device
from arcvit.cli.parser import CommandParser, beside_recipe, command_parser
from arcvit.core.console import PlainConsole
from arcvit.core.errors import UserError
from arcvit.core.shown import plain
from arcvit.core.writable import check_writable_folders
from arcvit.executors.choose import EXECUTORS, executor_flags, make_executor, planned_workers
from arcvit.methods.table import methods

if TYPE_CHECKING:
    from arcvit.bench.suite import Suite
    from arcvit.bench.trials import Bench


def run(argv: list[str]) -> int:
    """Run a suite, or print its plan; 1 where a task failed."""
    parser = _parser()
    argv, executor_settings = executor_flags(argv)
    options, overrides = beside_recipe(parser, argv)
    from arcvit.bench.borrowed import borrowed
    from arcvit.bench.suite import load_suite

    suite = load_suite(options.suite)
    if suite.flags:  # which the command line overrules
        options, overrides = beside_recipe(parser, [*suite.flags, *argv])
        if options.settings is not None and "--search" not in {a.partition("=")[0] for a in argv}:
            options.search = None
    if options.device is not None and not options.dry_run:
        raise UserError(
            "--device is for --dry_run: expected --engine.device to say where runs are done."
        )
    device = options.device and find_device(options.device)
    if options.settings is not None and options.search not in (None, "none"):
        raise UserError("--settings takes the place of a search: leave --search out.")

    bench = _bench(suite, options, overrides)
    _try_recipes(bench)
    bench = replace(bench, notes=(*bench.notes, *borrowed(bench)))
    console = PlainConsole()
    if not console.is_terminal:
        console = PlainConsole(width=120)  # a file or a pipe has no width of its own
    if options.dry_run:
        from arcvit.bench.plan import Workers, print_plan

        planned = planned_workers(options.executor, options.jobs, executor_settings)
        print_plan(bench, options.root, console, device=device, workers=Workers(*planned))
        return 0
    if options.root is None and suite.benchmark:
        raise UserError("--data.root is missing: expected the folder that holds the tasks.")

    from arcvit.bench.run import run_bench
    from arcvit.bench.store import Store

    out = options.out or Path("runs") / suite.name
    if ":/" in str(out):
        raise UserError(
            f"--out {out} is an address: expected a folder here. Give the address as --results."
        )
    check_writable_folders(out=out)
    store = None if options.results is None else Store(options.results)
    made = make_executor(options.executor, options.jobs, executor_settings, out)
    with closing(made) as executor:
        failures = run_bench(bench, options.root, out, executor, console, store)
    for failure in failures:
        print(plain(f"failed: {failure.task} {failure.row}: {failure.reason}"))
    print(f"the runs are in {out}; arcvit report {out} makes the tables and the page")
    return 1 if failures else 0


def _parser() -> CommandParser:
    every = ",".join(spec.name for spec in methods().values() if spec.argument is None)
    parser = command_parser(
        "bench",
        "Run tasks with several methods: settings are chosen on the validation split, the"
        " model trained on train and val with each seed, the test split read once. Any field of a"
        " recipe is a flag for all runs, as --engine.epochs 5 or --backbone NAME. What is finished"
        " isn't run again; the same command goes on after an interruption.",
        often=(),
    )
    parser.add_argument("suite", metavar="SUITE", help="vtab, fgvc, or a YAML of your own tasks.")
    parser.add_argument("--data.root", dest="root", type=Path, help="Folder that holds the tasks.")
    parser.add_argument("--tasks", help="Some of the tasks, with commas between (default: all).")
    parser.add_argument(
        "--methods",
        default=every,
        help="Rows of the table, with commas between: a method, or METHOD:KEY=VALUE:KEY=VALUE with"
        f" settings of its own, as arc,arc:share=none,lora:r=2 (default: {every}).",
    )
    parser.add_argument("--backbones", help="Backbones to put every method on, as rows too.")
    parser.add_argument("--seeds", default="0,1,2", help="Seeds of the final runs (0,1,2).")
    parser.add_argument(
        "--search",
        help="What to choose on validation: grid (three learning rates, default), wide (7 rates x"
        " 5 weight decays), none, or a YAML as 'arc: {optim.lr: [0.001, 0.01]}'.",
    )
    parser.add_argument(
        "--search_seeds",
        help="Seeds that settings are tried with; the best mean is chosen (default: the first of"
        " --seeds).",
    )
    parser.add_argument(
        "--search_folds",
        type=int,
        help="Choose by cross-validation on so many folds of train and val; 0: on val (default: on"
        " val, or as the suite says of a task). Folds and seeds take turns: four folds and two"
        " seeds are four runs.",
    )
    parser.add_argument(
        "--extend_rates",
        type=int,
        default=0,
        help="How many more learning rates to try where the best is the lowest or highest"
        " (default: 0).",
    )
    parser.add_argument(
        "--match_params",
        metavar="METHOD",
        help="Give every method the rank or width that trains at most as many numbers outside the"
        " head as this one, as arc or lora:r=2. A row that names its own stays as it is.",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        help="Settings that an earlier search chose, in place of a search: the settings.yaml that"
        " arcvit report writes.",
    )
    parser.add_argument("--recipe", help="A recipe in place of the suite's own, as vtab/swin_b.")
    parser.add_argument("--out", type=Path, help="Folder of the runs (default: runs/SUITE).")
    parser.add_argument(
        "--results",
        metavar="ADDRESS",
        help="Where workers that share no disk with --out leave their runs, as s3://BUCKET/NAME or"
        " whatever else fsspec opens; each is brought to --out when it has finished.",
    )
    parser.add_argument(
        "--executor",
        choices=EXECUTORS,
        default="local",
        help="Where runs are done: on this machine (default), on a Ray cluster (--ray.address,"
        " --ray.num_cpus and --ray.num_gpus of a worker), or under Slurm (--slurm.partition,"
        " --slurm.gpus_per_node, --slurm.timeout_min and whatever else submitit takes).",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        help="Runs at once (default: one for each GPU, one on a CPU). On this machine they share"
        " the cores, and the GPUs in turn.",
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="Print the plan, with the time that --jobs workers take; run nothing.",
    )
    parser.add_argument(
        "--device",
        help=f"With --dry_run: plan for another device than this machine's ({', '.join(DEVICES)}).",
    )
    return parser


def _bench(suite: "Suite", options: argparse.Namespace, overrides: Sequence[str]) -> "Bench":
    """The suite's tasks, rows and settings as the flags say."""
    from arcvit.bench.chosen import read_settings
    from arcvit.bench.rows import bench_rows, split_list
    from arcvit.bench.trials import Bench
    from arcvit.sweep.space import load_space

    if options.tasks is not None:
        suite = suite.only(split_list(options.tasks, "tasks"))
    rows = bench_rows(options.methods, options.backbones)
    bench = Bench(
        suite=suite,
        rows=rows,
        seeds=_seeds(options.seeds, "seeds"),
        search_seeds=()
        if options.search_seeds is None
        else _seeds(options.search_seeds, "search_seeds"),
        folds=options.search_folds and _at_least(2, options.search_folds, "search_folds"),
        extend=_at_least(0, options.extend_rates, "extend_rates") or 0,
        recipe=options.recipe,
        overrides=tuple(overrides),
    )
    if options.match_params is not None:
        from arcvit.bench.match import match_params

        bench = match_params(bench, options.match_params)
    search = "none" if options.settings is not None else options.search or "grid"
    names = [task.name for task in suite.tasks]
    return replace(
        bench,
        space=None if search == "none" else load_space(search, [row.method for row in bench.rows]),
        settings=options.settings and read_settings(options.settings, names, bench.rows),
    )


def _try_recipes(bench: "Bench") -> None:
    """A misspelt setting shows before anything runs."""
    first = bench.suite.tasks[0]
    for task in bench.suite.tasks:
        # What a task sets is the same for every row, and a search for every task.
        rows = bench.rows if bench.settings or task is first else bench.rows[:1]
        for row in rows:
            trials = bench.trials(row) or [bench.chosen(task, row)]
            for settings in (trials[0], trials[-1]):  # all lowest values, all highest
                bench.recipe_for(task, task.path, row, bench.seeds[0], settings)


def _seeds(given: str, flag: str) -> tuple[int, ...]:
    from arcvit.bench.rows import split_list

    texts = split_list(given, flag)
    for text in texts:
        if not text.isascii() or not text.isdigit():
            raise UserError(f"--{flag} names {text!r}: expected whole numbers, as 0,1,2.")
    seeds = tuple(int(text) for text in texts)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--{flag} is {given!r}: expected different numbers.")
    return seeds


def _at_least(least: int, value: int | None, flag: str) -> int | None:
    if value is not None and value < least:
        raise UserError(f"--{flag} is {value}: expected a whole number of at least {least}.")
    return value

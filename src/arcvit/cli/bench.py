"""``arcvit bench``: run a suite of tasks with several methods, searched and seeded alike."""

from pathlib import Path
from typing import get_args

from arcvit.cli.parser import command_parser
from arcvit.core.errors import UserError, nearest
from arcvit.recipe.recipe import Method

METHODS = "linear,bitfit,lnorm,lora,vera,vpt,adaptformer,ssf,arc_att,arc,full"


def run(argv: list[str]) -> int:
    """Run a suite, or print its plan; 1 where a task failed."""
    parser = command_parser(
        "bench",
        "Run tasks with several methods: settings are chosen on the validation split, the"
        " model trained on train and val with each seed, the test split read once. Any field of a"
        " recipe is a flag for all runs, as --engine.epochs 5 or --backbone NAME. What is finished"
        " isn't run again; the same command goes on after an interruption.",
    )
    parser.add_argument("suite", metavar="SUITE", help="vtab, fgvc, or a YAML of your own tasks.")
    parser.add_argument("--data.root", dest="root", type=Path, help="Folder that holds the tasks.")
    parser.add_argument("--tasks", help="Some of the tasks, with commas between (default: all).")
    parser.add_argument("--methods", default=METHODS, help=f"Default: {METHODS}.")
    parser.add_argument("--seeds", default="0,1,2", help="Seeds of the final runs (0,1,2).")
    parser.add_argument(
        "--search",
        default="grid",
        help="What to choose on validation: grid (three learning rates, default), wide (7 rates x"
        " 5 weight decays), none, or a YAML as 'arc: {optim.lr: [0.001, 0.01]}'.",
    )
    parser.add_argument("--recipe", help="A recipe in place of the suite's own, as vtab/swin_b.")
    parser.add_argument("--out", type=Path, help="Folder of the runs (default: runs/SUITE).")
    parser.add_argument("--dry_run", action="store_true", help="Print the plan; run nothing.")
    options, overrides = parser.parse_known_args(argv)

    from rich.console import Console

    from arcvit.bench.suite import load_suite
    from arcvit.bench.trials import Bench, split_list
    from arcvit.sweep.space import load_space

    suite = load_suite(options.suite)
    if options.tasks is not None:
        suite = suite.only(split_list(options.tasks, "tasks"))
    bench = Bench(
        suite=suite,
        methods=tuple(_methods(split_list(options.methods, "methods"))),
        seeds=tuple(_seeds(split_list(options.seeds, "seeds"))),
        space=None if options.search == "none" else load_space(options.search),
        recipe=options.recipe,
        overrides=tuple(overrides),
    )
    # A misspelt setting shows before anything runs.
    task, first = suite.tasks[0], bench.seeds[0]
    for method in bench.methods:
        trials = bench.space[method] if bench.space else [{}]
        for settings in (trials[0], trials[-1]):  # all lowest values, all highest
            bench.recipe_for(task, task.path, method, first, settings)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a file or a pipe has no width of its own
    if options.dry_run:
        from arcvit.bench.plan import print_plan

        print_plan(bench, options.root, console)
        return 0
    if options.root is None and suite.benchmark:
        raise UserError("--data.root is missing: expected the folder that holds the tasks.")

    from arcvit.bench.run import run_bench

    out = options.out or Path("runs") / suite.name
    failures = run_bench(bench, options.root, out, console)
    for failure in failures:
        print(f"failed: {failure.task} {failure.method}: {failure.reason}")
    print(f"the runs are in {out}; arcvit report {out} makes the tables and the page")
    return 1 if failures else 0


def _methods(names: list[str]) -> list[str]:
    known = get_args(Method)
    for name in names:
        if name not in known:
            raise UserError(
                f"--methods names {name!r}: expected some of {METHODS}.{nearest(name, known)}"
            )
    return names


def _seeds(texts: list[str]) -> list[int]:
    for text in texts:
        if not text.isascii() or not text.isdigit():
            raise UserError(f"--seeds names {text!r}: expected whole numbers, as 0,1,2.")
    return [int(text) for text in texts]

"""``arcvit train``: learn a task."""

from pathlib import Path
from typing import TYPE_CHECKING

from arcvit.cli.parser import beside_recipe, command_parser
from arcvit.cli.report import draw_page
from arcvit.core.console import PlainConsole
from arcvit.core.errors import UserError
from arcvit.core.launch import rank
from arcvit.core.metric import group_text, metric_texts
from arcvit.recipe.few_shots import count_images
from arcvit.recipe.help import OFTEN
from arcvit.recipe.parser import parse_recipe

if TYPE_CHECKING:
    from arcvit.core.result import RunResult


def run(argv: list[str]) -> int:
    """Train by flags and YAML, and leave a run folder."""
    parser = command_parser(
        "train",
        "Learn a task: a small adapter and a head, on a frozen backbone. Every field of a recipe is"
        " a flag; --config FILE takes a recipe in YAML (or the name of a shipped one), which flags"
        " override; --print_config prints the whole recipe and does nothing.",
        often=OFTEN,
    )
    parser.add_argument(
        "photos",
        nargs="?",
        metavar="PHOTOS",
        help="The images: a folder with a folder for each class, or a CSV or TSV file (the same as"
        " --data.path).",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="The run folder; default: runs/TASK-METHOD-BACKBONE, with a number where that is"
        " taken. An unfinished run in it is resumed.",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="Replace the run in that folder; it stays until the new one has finished.",
    )
    parser.add_argument(
        "--resume_anyway",
        action="store_true",
        help="Go on with an unfinished run although its images have changed; those it had stay in"
        " their splits.",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="Show only the result, and draw no page of it."
    )
    options, flags = beside_recipe(parser, argv)
    if options.photos is not None:
        if any(flag.startswith("--data.path=") for flag in flags):
            raise UserError(f"{options.photos!r} and --data.path are both given: expected one.")
        flags = [*flags, f"--data.path={options.photos}"]
    recipe = parse_recipe(flags, count=count_images)

    from arcvit.recipe.execute import execute
    from arcvit.recipe.names import run_folder, run_name
    from arcvit.recipe.overwrite import overwrite
    from arcvit.recipe.run import Run

    root, name = Path("runs"), run_name(recipe)
    out = options.out or (root / name if options.overwrite else run_folder(recipe, root))
    console = PlainConsole()
    shows = rank() == 0 and not options.quiet
    if options.out is None and out.name != name and shows:
        console.print(f"{root / name} holds another run: this one goes to {out}", soft_wrap=True)
    planned = Run(recipe, out, resume_anyway=options.resume_anyway)
    result = (overwrite if options.overwrite else execute)(planned, console, quiet=options.quiet)
    if rank() == 0:
        console.print(f"{_summary(result)}; the run is in {out}", soft_wrap=True)
    if shows:
        console.print(draw_page(out), highlight=False, soft_wrap=True)
    return 0


def _summary(result: "RunResult") -> str:
    measured = []
    if result.out_of_fold is not None:
        found = result.out_of_fold
        measured.append(
            f"out-of-fold accuracy {found['accuracy']:.1%} (95 % interval {100 * found['low']:.1f}"
            f" to {100 * found['high']:.1f}, balanced {found['balanced_accuracy']:.1%},"
            f" {found['folds']:.0f} folds)"
        )
    for split, name in (("val", "validation"), ("test", "test")):
        metrics = result.metrics.get(split)
        if metrics:
            main, *further = metric_texts(metrics, result.metric)
            measured.append(f"{name} {main}")
    if result.metrics:
        if result.majority_share is not None:
            further.append(f"most frequent class {result.majority_share:.1%}")
        measured[-1] += f" ({', '.join(further)})"
    if result.test_groups is not None:
        measured.append(group_text(result.test_group_accuracy, result.test_groups))
    return ", ".join(measured) or "trained"

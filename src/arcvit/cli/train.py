"""``arcvit train``: learn a task."""

from pathlib import Path
from typing import TYPE_CHECKING

from arcvit.cli.parser import command_parser
from arcvit.core.console import PlainConsole
from arcvit.core.launch import rank
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
        recipe=True,
    )
    parser.add_argument(
        "--out",
        help="The run folder; default: runs/TASK-METHOD. An unfinished run in it is resumed.",
    )
    parser.add_argument(
        "--resume_anyway",
        action="store_true",
        help="Go on with an unfinished run although its images have changed; those it had stay in"
        " their splits.",
    )
    parser.add_argument("--quiet", action="store_true", help="Show only the result.")
    options, flags = parser.parse_known_args(argv)
    recipe = parse_recipe(flags)
    name = f"{Path(recipe.data.path).expanduser().resolve().stem}-{recipe.method}"
    out = Path(options.out or Path("runs") / name)

    from arcvit.recipe.execute import execute
    from arcvit.recipe.run import Run

    console = PlainConsole()
    result = execute(
        Run(recipe, out, resume_anyway=options.resume_anyway), console, quiet=options.quiet
    )
    summary = f"{_summary(result)}; the run is in {out}"
    if rank() == 0:
        console.print(summary, soft_wrap=True)
    return 0


def _summary(result: "RunResult") -> str:
    measured = []
    if result.val_accuracy is not None:
        measured.append(f"validation accuracy {result.val_accuracy:.1%}")
    if result.test_accuracy is not None:
        measured.append(f"test accuracy {result.test_accuracy:.1%}")
    balanced = result.test_balanced_accuracy
    balanced = result.val_balanced_accuracy if balanced is None else balanced
    if balanced is not None and result.majority_share is not None:
        measured[-1] += (
            f" (balanced {balanced:.1%}, most frequent class {result.majority_share:.1%})"
        )
    if result.test_group_accuracy is not None:
        measured.append(f"{result.test_group_accuracy:.1%} of {result.test_groups} groups")
    return ", ".join(measured) or "trained"

"""``arcvit train``: learn a task."""

from pathlib import Path

from rich.console import Console

from arcvit.cli.parser import command_parser
from arcvit.recipe.parser import parse_recipe


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
    parser.add_argument("--quiet", action="store_true", help="Show only the result.")
    options, flags = parser.parse_known_args(argv)
    recipe = parse_recipe(flags)
    name = f"{Path(recipe.data.path).expanduser().resolve().stem}-{recipe.method}"
    out = Path(options.out or Path("runs") / name)

    from accelerate import PartialState

    from arcvit.recipe.execute import execute
    from arcvit.recipe.run import Run

    console = Console()
    result = execute(Run(recipe, out), console, quiet=options.quiet)
    summary = _summary(result.val_accuracy, result.test_accuracy, out)
    if PartialState().is_main_process:
        console.print(summary, highlight=False, soft_wrap=True)
    return 0


def _summary(val: float | None, test: float | None, out: Path) -> str:
    measured = [
        f"{name} accuracy {value:.1%}"
        for name, value in (("validation", val), ("test", test))
        if value is not None
    ]
    return f"{', '.join(measured) or 'trained'}; the run is in {out}"

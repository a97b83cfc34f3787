"""``arcvit train``: learn a task."""

from pathlib import Path

from rich.console import Console

from arcvit.recipe.parser import recipe_of, recipe_parser


def run(argv: list[str]) -> int:
    """Train by flags and YAML, and leave a run folder."""
    parser = recipe_parser("train")
    parser.add_argument(
        "--out",
        type=str | None,
        help="The run folder; default: runs/TASK-METHOD. An unfinished run in it is resumed.",
    )
    parser.add_argument("--quiet", action="store_true", help="Show only the result.")
    namespace = parser.parse_args(argv)
    recipe = recipe_of(parser, namespace)
    name = f"{Path(recipe.data.path).expanduser().resolve().stem}-{recipe.method}"
    out = Path(namespace.out or Path("runs") / name)

    from accelerate import PartialState

    from arcvit.recipe.execute import execute
    from arcvit.recipe.run import Run

    console = Console()
    result = execute(Run(recipe, out), console, quiet=namespace.quiet)
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

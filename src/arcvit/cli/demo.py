"""``arcvit demo``: train on bundled photos with the bundled backbone and show what came out."""

from pathlib import Path

from arcvit.cli.parser import command_parser
from arcvit.core.console import PlainConsole
from arcvit.core.extras import require
from arcvit.core.writable import check_writable_folders


def run(argv: list[str]) -> int:
    """Teach two tasks, print a table, write a page."""
    parser = command_parser(
        "demo",
        "Teach two bundled tasks to the bundled backbone, with a linear probe and with ARC, answer"
        " both in one batch, fold, and write a page. Takes two to three minutes on two cores.",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="Folder (default: runs/demo)."
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of the runs (default: 0).")
    parser.add_argument("--epochs", type=int, help="Epochs a method (default: 20).")
    parser.add_argument("--quiet", action="store_true", help="Show only the results.")
    options = parser.parse_args(argv)

    require("bench", "arcvit demo")
    check_writable_folders(out=options.out)

    from arcvit.bench.demo import EPOCHS, run_demo

    epochs = EPOCHS if options.epochs is None else options.epochs
    run_demo(options.out, PlainConsole(), seed=options.seed, epochs=epochs, quiet=options.quiet)
    return 0

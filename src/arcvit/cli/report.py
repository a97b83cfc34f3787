"""``arcvit report``: tables, pictures and a page of a bench."""

from pathlib import Path

from arcvit.cli.parser import command_parser
from arcvit.core.extras import require


def run(argv: list[str]) -> int:
    """Write Markdown, CSV, LaTeX and one self-contained HTML page."""
    parser = command_parser(
        "report", "Tables (Markdown, CSV, LaTeX) and one self-contained page of a bench."
    )
    parser.add_argument("runs", type=Path, metavar="RUNS", help="What arcvit bench wrote.")
    parser.add_argument("--out", type=Path, help="Where to write (default: RUNS/report).")
    parser.add_argument(
        "--against",
        metavar="METHOD",
        help="Of a bench: the row to compare the others with, run by run, as lora:r=2: differences"
        " with their standard errors, and a picture of accuracy over numbers trained.",
    )
    options = parser.parse_args(argv)

    require("bench", "arcvit report")
    from arcvit.bench.report import write_report

    table, files = write_report(
        options.runs, options.out or options.runs / "report", against=options.against
    )
    print(table)
    print(f"wrote {', '.join(map(str, files))}")
    return 0

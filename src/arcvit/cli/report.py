"""``arcvit report``: the page of a run, or tables, pictures and a page of a bench."""

from pathlib import Path

from arcvit.cli.parser import command_parser
from arcvit.core.errors import UserError
from arcvit.core.extras import require
from arcvit.core.result import is_finished
from arcvit.core.writable import check_writable_folders


def run(argv: list[str]) -> int:
    """Write one self-contained HTML page; of a bench, Markdown, CSV and LaTeX too."""
    parser = command_parser(
        "report",
        "One self-contained page of a run, index.html, with the scores of its classes as CSV; or of"
        " a bench, with its table in Markdown, CSV and LaTeX.",
    )
    parser.add_argument(
        "runs", type=Path, metavar="RUN|RUNS", help="What arcvit train or arcvit bench wrote."
    )
    parser.add_argument(
        "--out", type=Path, help="Of a bench: where to write (default: RUNS/report)."
    )
    parser.add_argument(
        "--split",
        help="Of a run: the images shown, test, val or out_of_fold; default: test where there is"
        " one.",
    )
    parser.add_argument(
        "--photos", type=Path, help="Of a run: where its images lie now, if they have moved."
    )
    parser.add_argument(
        "--against",
        metavar="METHOD",
        help="Of a bench: the row to compare the others with, run by run, as lora:r=2: differences"
        " with their standard errors, and a picture of accuracy over numbers trained.",
    )
    options = parser.parse_args(argv)

    require("bench", "arcvit report")
    if is_finished(options.runs):
        for name in ("out", "against"):
            if getattr(options, name) is not None:
                raise UserError(f"--{name} is of a bench, and this is a run: leave it out.")
        from arcvit.pages.run_page import write_run_page

        files = write_run_page(options.runs, split=options.split, photos=options.photos)
    else:
        if options.split is not None or options.photos is not None:
            raise UserError(
                f"--split and --photos are of a run, and {str(options.runs)!r} is no finished one."
            )
        from arcvit.bench.report import write_report

        out = options.out or options.runs / "report"
        check_writable_folders(out=out)
        table, files = write_report(options.runs, out, against=options.against)
        print(table)
    print(f"wrote {', '.join(map(str, files))}")
    return 0


def draw_page(run: Path) -> str:
    """Draw the page of a run that has just finished; what to tell of it.

    The run stands whatever comes of the page, so nothing is raised.
    """
    again = f"arcvit report {run} draws it"
    try:
        require("bench", "the page of the run")
        from arcvit.pages.run_page import write_run_page

        return f"its page is {write_run_page(run)[0]}"
    except UserError as error:
        return f"no page was drawn: {str(error).rstrip('.')}; then {again}"
    except Exception as error:
        return f"no page was drawn ({type(error).__name__}: {error}); {again} again"

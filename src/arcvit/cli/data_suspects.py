"""``arcvit data suspects``: labels to look at again, and images that are there twice."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.table import Column, Table

from arcvit.cli.outputs import spare
from arcvit.cli.parser import apart_from_data, command_parser
from arcvit.core.console import PlainConsole
from arcvit.core.errors import UserError
from arcvit.core.extras import require
from arcvit.core.task import Kind
from arcvit.core.writable import check_writable
from arcvit.data.findings import examples
from arcvit.data.task import JOINT

if TYPE_CHECKING:
    from arcvit.curate.suspects import Suspects

NO_LABEL = "no label"
_PAGE = Path("suspects.html")


def run(argv: list[str]) -> int:
    """Print what is most suspicious, and write a page with photos and, if asked, a table."""
    parser = command_parser(
        "data suspects",
        "Labels that may be wrong, the most suspicious first: a linear probe judges each image, as"
        " it learned from others, on features of a frozen backbone or of a run. Then images that"
        " are there twice, with different labels or in different splits. Takes the flags --data.*"
        " of arcvit train.",
    )
    parser.add_argument(
        "path", metavar="PATH", help="A task: a folder of class folders, a table, another layout."
    )
    parser.add_argument(
        "--task",
        choices=get_args(Kind),
        help="Whether an image has one label or any number of them, as with arcvit train (default:"
        " as in the run, one without a run).",
    )
    parser.add_argument(
        "--run",
        metavar="RUN",
        help="Judge by a run: by what its folds say (out_of_fold.csv), or else by a probe on its"
        " features.",
    )
    parser.add_argument(
        "--backbone",
        help="Whose features are used without a run (default: demo); with one, where its backbone"
        " lies now, if it has moved.",
    )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="Write path, label, suggested and score."
    )
    parser.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help=f"Where the page with photos goes (default: {_PAGE}, where jinja2 is installed).",
    )
    parser.add_argument("--top", type=int, default=20, help="Images printed (default: 20).")
    own, flags = apart_from_data(argv)
    options = parser.parse_args(own)
    if options.top < 0:
        raise UserError(f"--top is {options.top}: expected a number of images, 0 or more.")
    spare([options.path], csv=options.csv, page=options.page)
    if options.page is not None:
        require("bench", "--page")
    check_writable(csv=options.csv, page=options.page or _PAGE)

    from arcvit.curate.suspects import find_suspects
    from arcvit.data.readers.layouts import require_path
    from arcvit.recipe.parser import data_flags

    data = data_flags(flags)
    if "path" in data:
        raise UserError("--data.path isn't expected here: PATH alone says what is looked at.")
    require_path(Path(options.path).expanduser())
    found = find_suspects(
        options.path, task=options.task, run=options.run, backbone=options.backbone, **data
    )
    # Before anything is printed: whoever reads may go away, as head does.
    if options.csv is not None:
        found.write(options.csv)
    drawn = _draw_page(found, options.page)
    console = PlainConsole(soft_wrap=True)
    _show(found, options.top, console)
    if options.csv is not None:
        console.print(f"wrote {options.csv}")
    console.print(drawn)
    return 0


def _draw_page(found: "Suspects", file: Path | None) -> str:
    """Write the page; what to tell of it."""
    try:
        require("bench", "the page with photos")
    except UserError as error:
        return f"no page was drawn: {error}"
    from arcvit.pages.suspects_page import write_suspects_page

    write_suspects_page(found, file or _PAGE)
    return f"the photos are in {file or _PAGE}"


def _show(found: "Suspects", top: int, console: PlainConsole) -> None:
    for name, why in found.skipped:
        console.print(f"left out: {name} ({why})")
    several = found.kind == "multilabel"
    judged = f"the labels of {found.images:,} images" if several else f"{found.images:,} labels"
    wrong = "have a wrong one or lack one" if several else "be wrong"
    console.print(
        f"{found.task}: {judged} judged by {found.judge}; about {found.wrong:,} may {wrong}, and"
        f" {len(found.suspects):,} are worth a look"
    )
    if found.joint:
        named = examples([repr(name) for name in found.joint])
        splits = "" if several else f", --task multilabel splits them at {JOINT!r}"
        console.print(
            f"classes that look like several labels, {named}: each is judged as one name{splits}"
        )
    if found.unjudged:
        named = examples([f"{photo.path} ({photo.label})" for photo in found.unjudged])
        console.print(f"not judged: {len(found.unjudged):,}, as {found.why_not}: {named}")
    # A path that is cut in a narrow terminal could be another one: it is folded.
    path = Column("path", overflow="fold")
    table = Table("label", "suggested", "score", path, box=None, header_style="bold")
    for one in found.suspects[:top]:
        labels = (one.label or NO_LABEL, one.suggested or NO_LABEL)
        table.add_row(*labels, f"{one.score:.3f}", one.path)
    if table.row_count:
        console.print(table)
    if found.twins:
        console.print(f"{len(found.twins):,} pair(s) of images show the same:")
    twins = Table("alike", "label", path.copy(), box=None, header_style="bold")
    for pair in found.twins[:top]:
        alike = "copy" if pair.is_copy else f"{pair.similarity:.3f}"
        twins.add_row(alike, pair.one.label or NO_LABEL, pair.one.path)
        twins.add_row("", pair.other.label or NO_LABEL, pair.other.path)
    if twins.row_count:
        console.print(twins)

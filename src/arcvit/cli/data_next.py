"""``arcvit data next``: which photos without labels to label next."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Column, Table

from arcvit.cli.image_paths import add_images, arriving_names, given_names
from arcvit.cli.outputs import spare
from arcvit.cli.parser import command_parser
from arcvit.core.console import PlainConsole
from arcvit.core.errors import UserError
from arcvit.core.writable import check_writable

if TYPE_CHECKING:
    from arcvit.curate.next_photos import NextPhotos


def run(argv: list[str]) -> int:
    """Print the photos that a run would learn most from, and write them as a table."""
    parser = command_parser(
        "data next",
        "Photos to label next: of those that the run is unsure of, some that differ from one"
        " another. Photos that are in the run's data already are left out, by content.",
    )
    add_images(parser)
    parser.add_argument(
        "--run", required=True, metavar="RUN", help="A run that has learned from those labelled."
    )
    parser.add_argument("--n", type=int, default=50, help="How many to choose (default: 50).")
    parser.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="Write path, predicted, probability and uncertainty.",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="Decides where the search for differences starts."
    )
    parser.add_argument("--backbone", help="Where the backbone lies now, if it has moved.")
    parser.add_argument("--force", action="store_true", help="Allow another backbone's weights.")
    options = parser.parse_intermixed_args(argv)
    if options.n < 1:
        raise UserError(f"--n is {options.n}: expected at least 1 photo.")
    if options.seed < 0:
        raise UserError(f"--seed is {options.seed}: expected 0 or more.")
    spare([*options.images, options.list], csv=options.csv)
    check_writable(csv=options.csv)
    names = given_names(options)

    from arcvit.curate.next_photos import next_photos

    found = next_photos(
        options.run,
        [name for arrived in arriving_names(names) for name in arrived],
        n=options.n,
        seed=options.seed,
        backbone=options.backbone,
        force=options.force,
    )
    if options.csv is not None:  # before anything is printed: whoever reads may go away
        found.write(options.csv)
    _show(found, options)
    return 0


def _show(found: "NextPhotos", options: argparse.Namespace) -> None:
    console = PlainConsole(soft_wrap=True)
    for name, why in found.skipped:
        console.print(f"left out: {name} ({why})")
    if found.known:
        console.print(
            f"left out: {found.known:,} photo(s) that are in the data of {options.run} already"
        )
    if found.copies:
        console.print(f"left out: {found.copies:,} that are copies of others")
    if options.n > found.pool:
        console.print(f"there are fewer photos than --n {options.n}: all are listed")
    console.print(f"{len(found.photos):,} of {found.pool:,} photos to label next:")
    path = Column("path", overflow="fold")
    table = Table("uncertainty", "taken for", "sure", path, box=None, header_style="bold")
    for one in found.photos:
        row = (f"{one.uncertainty:.3f}", one.predicted, f"{one.probability:.0%}", str(one.path))
        table.add_row(*row)
    console.print(table)
    if options.csv is not None:
        console.print(f"wrote {options.csv}")

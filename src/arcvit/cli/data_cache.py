"""``arcvit data cache``: list what is kept of decoded images, and remove what wasn't used."""

import math
import time
from pathlib import Path

from rich.table import Table

from arcvit.cli.parser import command_parser
from arcvit.core.console import PlainConsole
from arcvit.core.errors import UserError
from arcvit.core.shown import plain
from arcvit.data.pixels.kept import beyond, kept_in, remove


def run(argv: list[str]) -> int:
    """Print the entries with their sizes; with ``--keep_gb`` remove the least recently used."""
    parser = command_parser(
        "data cache",
        "What is kept of decoded images and unpacked containers: size, last use, where from. What"
        " is removed is made again when it is needed.",
    )
    parser.add_argument(
        "--cache_dir",
        type=Path,
        default=Path.home() / ".cache/arcvit",
        help="The folder, as --data.cache_dir (default: ~/.cache/arcvit).",
    )
    parser.add_argument(
        "--keep_gb",
        type=float,
        metavar="GB",
        help="Keep at most so many GB, the last used; remove the rest (0: all).",
    )
    options = parser.parse_args(argv)
    if options.keep_gb is not None and not 0 <= options.keep_gb < math.inf:
        raise UserError(f"--keep_gb is {options.keep_gb}: expected a number of GB, 0 or more.")
    entries = kept_in(options.cache_dir)
    table = Table("used", "GB", "images", "from", box=None, pad_edge=False, header_style="bold")
    for entry in entries:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        number = "" if entry.images is None else f"{entry.images:,}"
        table.add_row(day, f"{entry.size / 1e9:.3f}", number, entry.source or entry.folder.name)
    if entries:
        PlainConsole().print(table)
    total = sum(entry.size for entry in entries)
    print(plain(f"{len(entries)} entries, {total / 1e9:.3f} GB in {options.cache_dir}"))
    if options.keep_gb is None:
        if entries:
            print("arcvit data cache --keep_gb 10 removes what was used longest ago beyond 10 GB")
        return 0
    surplus = beyond(entries, int(options.keep_gb * 1e9))
    for entry in surplus:
        remove(entry)
    print(f"removed {len(surplus)} entries, {sum(entry.size for entry in surplus) / 1e9:.3f} GB")
    return 0

"""Names of images that were given: on the command line, in lists, on standard input."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from arcvit.cli.parser import CommandParser
from arcvit.core.errors import UserError

STDIN = "-"
_CHUNK = 1 << 16
"""As many bytes of standard input are taken at once, a thousand paths or so."""


def add_images(parser: CommandParser) -> None:
    """Add ``IMAGE...`` and ``--list``."""
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="Image files, folders, patterns such as 'photos/**/*.jpg', or - for paths on standard"
        " input, one a line.",
    )
    parser.add_argument(
        "--list", type=Path, metavar="FILE", help="A file with a path in each line."
    )


def given_names(options: argparse.Namespace) -> list[str]:
    """The names that ``add_images`` asked for, those of the list included.

    Raises:
        UserError: there are none, or the list can't be read or isn't text.
    """
    names = [*options.images, *([] if options.list is None else _listed(options.list))]
    if not names:
        raise UserError(
            "no image is given: expected files, folders, patterns, --list FILE, or - for paths on"
            " standard input."
        )
    return names


def arriving_names(names: Sequence[str]) -> Iterator[list[str]]:
    """The names given, and in place of ``-`` the lines of standard input as they come."""
    waiting: list[str] = []
    for name in names:
        if name == STDIN:
            yield waiting
            waiting = []
            yield from _arriving_lines(sys.stdin.buffer)
        else:
            waiting.append(name)
    yield waiting


def _listed(file: Path) -> list[str]:
    """The lines of a list of paths, seen from the current folder, as ``find`` writes them."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"--list {str(file)!r} can't be read: {error.strerror}.") from error
    return _names(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"))


def _arriving_lines(stream: BinaryIO) -> Iterator[list[str]]:
    rest = b""
    # One read waits until something is there, and no longer.
    while chunk := stream.read1(_CHUNK):  # type: ignore[attr-defined]
        *lines, rest = (rest + chunk).split(b"\n")
        yield _names(lines)
    yield _names([rest])


def _names(lines: Sequence[bytes]) -> list[str]:
    if any(b"\0" in line for line in lines):
        raise UserError("paths hold zero bytes: expected text with a path in each line.")
    names = (os.fsdecode(line.rstrip(b"\r")) for line in lines)
    return [name for name in names if name.strip()]

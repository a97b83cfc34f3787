"""Names of images that were given: on the command line, in lists, on standard input."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from arcvit.core.errors import UserError

STDIN = "-"
_CHUNK = 1 << 16
"""As many bytes of standard input are taken at once, a thousand paths or so."""


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


def listed_names(file: Path) -> list[str]:
    """The lines of a list of paths, seen from the current folder, as ``find`` writes them.

    Raises:
        UserError: it can't be read.
    """
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
    names = (os.fsdecode(line.rstrip(b"\r")) for line in lines)
    return [name for name in names if name.strip()]

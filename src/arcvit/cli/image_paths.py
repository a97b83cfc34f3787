"""Which image files were given: files, folders, patterns, lists, and paths on standard input."""

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from arcvit.core.errors import UserError
from arcvit.data.readers.folders import image_files
from arcvit.data.readers.reader import Opening

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


def images_of(name: str) -> list[Path]:
    """The images that a file, a folder or a pattern names.

    A folder gives what a class folder would when training: all but notes, tables and hidden files.
    A file that isn't there is given as it is, and told of with those that can't be read.

    Raises:
        UserError: a folder can't be listed.
    """
    path = Path(name)
    if not path.exists() and any(sign in name for sign in "*?["):
        found = (image for match in sorted(glob.glob(name, recursive=True)) for image in _at(match))
        return list(dict.fromkeys(found))  # ** names what is in a folder, and the folder
    return _at(name)


def _at(name: str) -> list[Path]:
    path = Path(name)
    return image_files(path, path, Opening()) if path.is_dir() else [path]


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

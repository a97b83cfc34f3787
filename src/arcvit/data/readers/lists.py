"""Lists of images as text: lines, labels, and what is said of the lines that are wrong."""

from collections.abc import Sequence
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.data.findings import Finding, spoils

LONGEST_LABEL = 9
"""Digits that a class index has at most."""
MOST_CLASSES = 100_000
"""More are a mistake, such as a column of paths for that of labels."""
_SHOWN = 3


def is_label(text: str) -> bool:
    """Whether a text is a class index: a whole number, of no more digits than an index has."""
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_LABEL


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        UserError: the file is in another encoding.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} isn't UTF-8 text: save it in that encoding.") from error


def read_names(path: Path) -> tuple[str, ...]:
    """The lines of a file, such as ``classes.txt``, without empty ones.

    Raises:
        UserError: there are more than classes can be.
    """
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    refuse_many_classes(len(names), path)
    return names


def refuse_many_classes(count: int, source: Path) -> None:
    """Refuse more classes than a head can learn.

    Raises:
        UserError: names the file or folder.
    """
    if count > MOST_CLASSES:
        raise UserError(
            f"{source} has more than {MOST_CLASSES:,} classes: expected names that many images"
            " share, is that the right column or list?"
        )


def list_findings(
    file: Path, *, mistakes: Sequence[str], repeats: Sequence[str] = ()
) -> list[Finding]:
    """What is wrong with a list.

    Args:
        file: the list.
        mistakes: what can't be understood, each to follow the file's name, without a full stop.
        repeats: images that are listed again, said in the same way.
    """
    findings = []
    for kind, found in (("malformed-list", mistakes), ("repeated-lines", repeats)):
        if found:
            more = len(found) - _SHOWN
            shown = [*found[:_SHOWN], *([f"and {more:,} more such mistakes"] if more > 0 else [])]
            findings.append(spoils(kind, f"{file} {'; '.join(shown)}."))
    return findings

"""What is wrong with a task, or worth knowing: how bad it is, and one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from arcvit.core.shown import plain

Severity = Literal["spoils", "warning", "note"]
"""``spoils``: a result would be wrong. ``warning``: it may not compare with published ones."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that somebody who trains on the data should know."""

    severity: Severity
    """``spoils``, ``warning`` or ``note``."""
    kind: str
    """Which check found it, such as ``test-size``; stable, for programs."""
    text: str
    """One sentence."""


def spoils(kind: str, text: str) -> Finding:
    """Something that makes a result wrong."""
    return Finding(severity="spoils", kind=kind, text=text)


def warning(kind: str, text: str) -> Finding:
    """Something that may make a result differ from published ones."""
    return Finding(severity="warning", kind=kind, text=text)


def note(kind: str, text: str) -> Finding:
    """Something to know."""
    return Finding(severity="note", kind=kind, text=text)


def printable(text: object) -> str:
    """A text that any file can hold: names of files may be bytes that aren't UTF-8."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def examples(items: Sequence[object], *, most: int = 3) -> str:
    """The first few items, comma-separated, then how many more."""
    shown = ", ".join(map(plain, items[:most]))
    return f"{shown} and {len(items) - most:,} more" if len(items) > most else shown

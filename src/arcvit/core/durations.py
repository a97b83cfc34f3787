"""Durations as people write them: ``90s``, ``10m``, ``1h30m``."""

import re

from arcvit.core.errors import UserError

_DURATION = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")


def seconds_in(text: str, *, key: str) -> int:
    """The seconds in a duration.

    Raises:
        UserError: it isn't one, or it is none at all; the sentence names the key.
    """
    found = _DURATION.fullmatch(text.replace(" ", ""))
    hours, minutes, seconds = map(int, found.groups(default="0")) if found else (0, 0, 0)
    if hours + minutes + seconds == 0:
        raise UserError(f"{key} is {text!r}: expected a duration, as 90s, 10m or 1h30m.")
    return 3600 * hours + 60 * minutes + seconds


def spoken(seconds: float) -> str:
    """A duration for a sentence, as ``46 s``, ``3 min`` or ``1.5 h``."""
    if seconds < 99.5:
        return f"{seconds:.2g} s" if seconds < 9.5 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"

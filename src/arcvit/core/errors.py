"""Mistakes a user can make: one sentence that names the thing, what was expected and what to do."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave. The command line prints its sentence and exits with 2."""


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """The known names closest to a misspelt one, ready to end a sentence.

    Returns ``" Did you mean 'arc' or 'arc_att'?"``, or an empty string where nothing is close.
    """
    close = difflib.get_close_matches(name, list(known), n=most, cutoff=0.5)
    if not close:
        return ""
    return f" Did you mean {' or '.join(repr(c) for c in close)}?"

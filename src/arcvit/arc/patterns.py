"""Regular expressions from files of strangers: none that could keep a match busy for hours.

Python's engine tries one way after another, and the ways multiply: ``(a+)+b`` takes twice as long
for every letter of the name. A time limit would need signals or a process of its own, which threads
and Windows don't have, so an expression is judged by its form: before it is used, the ways are
counted in which it can be tried.
"""

import re
from dataclasses import dataclass

from arcvit.core.errors import UserError

_NAME = 64
"""Letters of a long module name: so many places a repetition can end at."""
_MOST_WAYS = 10_000_000
_MOST_LETTERS = 100_000
_TOKEN = re.compile(
    r"\\."  # an escape
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]"  # a set
    r"|\(\?[aiLmsux]+\)"  # flags for the whole
    r"|\(\?(?:[=!>]|<[=!]|P<|[aiLmsux-]*:)|\("  # a group
    r"|[|)]"
    r"|\?[?+]?|(?:[*+]|\{\d*,?\d*\})[?+]?"  # a repetition
    r"|.",
    re.DOTALL,
)


@dataclass
class _Group:
    """Ways of a group: of the branches before, and of the one that is being read."""

    before: int = 0
    ways: int = 1
    last: int = 1

    @property
    def total(self) -> int:
        return self.before + self.ways


def check_pattern(key: str, pattern: str) -> None:
    """Refuse a regular expression that is none, or that may take too long on a module's name.

    A repeated group that has a choice in it, as ``(a+)+``, is refused. Otherwise branches add up,
    and what follows one another multiplies: a repetition can end at any letter of the name.

    Args:
        key: where it stands, for the sentence.
        pattern: the expression.

    Raises:
        UserError: names the key and the expression.
    """
    shown = pattern if len(pattern) <= 80 else f"{pattern[:80]}..."
    if len(pattern) > _MOST_LETTERS:
        raise UserError(
            f"{key} has {len(pattern):,} letters: expected at most {_MOST_LETTERS:,}; give the"
            " names as a list."
        )
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UserError(f"{key} is {shown!r}, which is no regular expression ({error}).") from error
    if not 0 < _ways(pattern) <= _MOST_WAYS:
        raise UserError(
            f"{key} is {shown!r}, a regular expression that can take hours on a long name: expected"
            " no repeated group, as (a+)+, and few repetitions; or give the names as a list."
        )


def _ways(pattern: str) -> int:
    """In how many ways a match can be tried, about; 0 where that can't be told or has no bound."""
    groups = [_Group()]
    for token in _TOKEN.findall(pattern):
        group = groups[-1]
        if token.startswith("(?") and "x" in token.partition("-")[0]:
            return 0  # spaces and comments between a group and its repetition
        if token.startswith("(") and not token.endswith(")"):
            groups.append(_Group())
        elif token == ")":
            groups.pop()
            if not groups:
                return 0
            groups[-1].last = group.total
            groups[-1].ways *= group.total
        elif token == "|":
            group.before, group.ways, group.last = group.total, 1, 1
        elif token[0] in "*+?{" and token != "{":
            ways = group.last + 1
            if token[0] != "?":
                # A repeated group that has one way only is a word.
                if group.last > 1:
                    return 0
                ways = _NAME
            group.ways = group.ways // group.last * ways
            group.last = ways
        else:
            group.last = 1
        if groups[-1].ways > _MOST_WAYS:
            break
    return max(group.total for group in groups)

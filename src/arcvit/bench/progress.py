"""What a person sees of a bench: a line for every run that has finished, and the time left."""

from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console

from arcvit.bench.entry import Entry


class Progress:
    """Counts runs, and learns from those done how long the others of their row will take.

    Args:
        console: where to show it.
        entries: tasks and rows, with all that is to be done of them.
        workers: runs that are done at once.
    """

    def __init__(self, console: Console, entries: Sequence[Entry], workers: int) -> None:
        self._console = console
        self._workers = workers
        self._runs = sum(entry.runs for entry in entries)
        self._done = 0
        self._left: defaultdict[str, float] = defaultdict(float)
        for entry in entries:
            self._left[str(entry.row.name)] += entry.cost
        self._paid: defaultdict[str, float] = defaultdict(float)
        self._spent: defaultdict[str, float] = defaultdict(float)

    def say(self, line: str) -> None:
        """Show a line."""
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def finished(self, row: str, cost: float, seconds: float, line: str | None) -> None:
        """A run has finished, here or at an earlier start, in no seconds; None: say nothing."""
        self.dropped(row, cost, 1)
        if seconds:
            self._paid[row] += cost
            self._spent[row] += seconds
        if line is not None:
            self.say(f"[{self._done}/{self._runs}] {line}{self._time_left()}")

    def added(self, row: str, cost: float, runs: int) -> None:
        """There are more runs to be done than there were, each of a cost."""
        self._runs += runs
        self._left[row] += cost * runs

    def dropped(self, row: str, cost: float, runs: int) -> None:
        """Runs won't be done."""
        self._done += runs
        self._left[row] -= cost

    def _time_left(self) -> str:
        paid = sum(self._paid.values())
        if not paid or self._done == self._runs:
            return ""
        pace = sum(self._spent.values()) / paid
        seconds = sum(
            left * (self._spent[row] / self._paid[row] if self._paid[row] else pace)
            for row, left in self._left.items()
        )
        return f"; {span(seconds / self._workers)} left"


def span(seconds: float) -> str:
    """A time in words, as ``12 min``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"

"""What a person sees of a bench: a line for every run that has finished, what is being done, and
the time left."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from arcvit.bench.entry import Entry
from arcvit.core.metrics import METRICS_FILE

_SHOWN = 3
"""Runs that are named of those being done; there may be hundreds."""
_REFRESH = 1.0
_PAUSE = (30.0, 600.0)
"""Seconds of silence after which a log gets a line: the shortest, and the longest."""
_SHARE = 0.05
"""In between, this share of the time that the bench has taken."""


@dataclass
class _Run:
    """A run that may be being done: its row, its cost, its epochs, and when it began."""

    row: str
    cost: float
    epochs: int
    begun: float | None = None


class Progress:
    """Counts runs, and learns from those done how long the others of their row will take.

    Args:
        console: where to show it.
        entries: tasks and rows, with all that is to be done of them.
        workers: runs that are done at once.
        folder: of the bench, where runs leave the records of their epochs.
    """

    def __init__(
        self, console: Console, entries: Sequence[Entry], workers: int, folder: Path
    ) -> None:
        self._console = console
        self._workers = workers
        self._folder = folder
        self._runs = sum(entry.runs for entry in entries)
        self._done = 0
        self._left: defaultdict[str, float] = defaultdict(float)
        for entry in entries:
            self._left[str(entry.row.name)] += entry.cost
        self._paid: defaultdict[str, float] = defaultdict(float)
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._known: dict[str, _Run] = {}
        self._doing: tuple[str, ...] = ()
        self._said = time.monotonic()

    def say(self, line: str) -> None:
        """Show a line."""
        self._said = time.monotonic()
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def expected(self, name: str, row: str, cost: float, epochs: int) -> None:
        """A run that is going to be done, under the name of its job and its folder."""
        self._known[name] = _Run(row=row, cost=cost, epochs=epochs)

    def doing(self, names: Sequence[str]) -> None:
        """The jobs that are being done have changed."""
        for name in set(names).difference(self._doing):
            if name in self._known:
                self._known[name].begun = time.monotonic()
        self._doing = tuple(names)

    def finished(self, row: str, cost: float, seconds: float, line: str | None) -> None:
        """A run has finished, here or at an earlier start, in no seconds; None: say nothing."""
        self.dropped(row, cost, 1)
        if seconds:
            self._paid[row] += cost
            self._spent[row] += seconds
        if line is not None:
            left = self._time_left({})
            self.say(f"[{self._done}/{self._runs}] {line}{left and f'; {left}'}")

    def added(self, row: str, cost: float, runs: int) -> None:
        """There are more runs to be done than there were, each of a cost."""
        self._runs += runs
        self._left[row] += cost * runs

    def dropped(self, row: str, cost: float, runs: int) -> None:
        """Runs won't be done."""
        self._done += runs
        self._left[row] -= cost

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show what is being done: on a terminal as its last line, in a log from time to time."""
        stop = threading.Event()
        live = Live(console=self._console, auto_refresh=False, transient=True)
        show = self._log if not self._console.is_terminal else self._follow
        thread = threading.Thread(target=show, args=(live, stop), daemon=True)
        if self._console.is_terminal:
            live.start()
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            live.stop()

    def status(self) -> str:
        """Runs done, time left, and what is being done with its epochs."""
        doing = self._doing
        epochs = {name: self._epochs(name) for name in doing}
        named = []
        for name in doing[:_SHOWN]:
            run = self._known.get(name)
            epoch = f" epoch {epochs[name]}/{run.epochs}" if run and epochs[name] else ""
            named.append(f"{name}{epoch}")
        if len(doing) > _SHOWN:
            named.append(f"{len(doing) - _SHOWN} more")
        left = self._time_left(epochs)
        parts = [part for part in (left, ", ".join(named)) if part]
        return f"[{self._done}/{self._runs}] {'; '.join(parts)}"

    def _follow(self, live: Live, stop: threading.Event) -> None:
        while not stop.wait(_REFRESH):
            line = Text(self.status(), no_wrap=True, overflow="ellipsis")
            live.update(line, refresh=True)

    def _log(self, live: Live, stop: threading.Event) -> None:
        begun = time.monotonic()
        while not stop.wait(_REFRESH):
            now = time.monotonic()
            pause = min(max(_SHARE * (now - begun), _PAUSE[0]), _PAUSE[1])
            if now - self._said > pause:
                self.say(self.status())

    def _epochs(self, name: str) -> int:
        """Epochs that a run has finished, as its folder tells; a worker elsewhere has its own."""
        try:
            return (self._folder / name / METRICS_FILE).read_bytes().count(b"\n")
        except OSError:
            return 0

    def _time_left(self, epochs: dict[str, int]) -> str:
        """In words, from runs done and the epochs of those being done; nothing where none is."""
        left, paid, spent = dict(self._left), dict(self._paid), dict(self._spent)
        for name, done in epochs.items():
            run = self._known.get(name)
            if run is not None and run.begun is not None and done:
                part = run.cost * min(1.0, done / run.epochs)
                left[run.row] -= part
                paid[run.row] = paid.get(run.row, 0.0) + part
                spent[run.row] = spent.get(run.row, 0.0) + time.monotonic() - run.begun
        if not any(paid.values()) or self._done == self._runs:
            return ""
        pace = sum(spent.values()) / sum(paid.values())
        seconds = sum(
            cost * (spent[row] / paid[row] if paid.get(row) else pace) for row, cost in left.items()
        )
        return f"{span(max(0.0, seconds) / self._workers)} left"


def span(seconds: float) -> str:
    """A time in words, as ``12 min``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"

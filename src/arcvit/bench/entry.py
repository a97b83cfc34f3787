"""A row of a task on its way: what is still to be done, and what it costs. No torch."""

from dataclasses import dataclass, field
from pathlib import Path

from arcvit.bench.rows import BenchRow
from arcvit.bench.suite import SuiteTask
from arcvit.sweep.choose import Tried
from arcvit.sweep.space import Settings
from arcvit.sweep.tries import Try


@dataclass
class Entry:
    """A row of a task on its way.

    Attributes:
        task: the task.
        row: method and backbone.
        folder: of its runs.
        trials: settings that its search tries, more as it is extended; none: no search.
        tries: the runs that each of them is judged by.
        trial_cost: what a run of the search costs.
        final_cost: what a final run costs.
        extensions_left: how often the search may still go beyond its rates.
        trials_left: runs of the search that aren't done.
        finals_left: final runs that aren't done.
        tried: what each run of the search came to on validation, by the places of trial and try;
            None where it diverged.
        ruined: why a final run has no result, by its seed: its loss wasn't finite.
        failure: why it can't be finished; None: it can.
    """

    task: SuiteTask
    row: BenchRow
    folder: Path
    trials: list[Settings]
    tries: tuple[Try, ...]
    trial_cost: float
    final_cost: float
    extensions_left: int
    trials_left: int
    finals_left: int
    tried: dict[tuple[int, int], float | None] = field(default_factory=dict)
    ruined: dict[int, str] = field(default_factory=dict)
    failure: str | None = None

    @property
    def name(self) -> str:
        """As in messages."""
        return f"{self.task.name} {self.row.name}"

    @property
    def outcome(self) -> Tried:
        """What came of the trials."""
        return [
            (settings, [self.tried[index, place] for place in range(len(self.tries))])
            for index, settings in enumerate(self.trials)
        ]

    @property
    def path(self) -> float:
        """The longest that waits for it when it begins."""
        return self.final_cost + (self.trial_cost if self.trials else 0.0)

    @property
    def runs(self) -> int:
        """Those that aren't done yet."""
        return self.trials_left + self.finals_left

    @property
    def cost(self) -> float:
        """Of what isn't done yet."""
        return self.trials_left * self.trial_cost + self.finals_left * self.final_cost

"""A row of a task on its way: what is still to be done, and what it costs. No torch."""

from dataclasses import dataclass, field
from pathlib import Path

from arcvit.bench.rows import BenchRow
from arcvit.bench.suite import SuiteTask
from arcvit.sweep.space import Settings


@dataclass
class Entry:
    """A row of a task on its way.

    Attributes:
        task: the task.
        row: method and backbone.
        folder: of its runs.
        trials: settings that its search tries; none: no search.
        trial_cost: what a trial costs.
        final_cost: what a final run costs.
        trials_left: trials that aren't done.
        finals_left: final runs that aren't done.
        tried: accuracy of each trial done, by its place; None where it diverged.
        failure: why it can't be finished; None: it can.
    """

    task: SuiteTask
    row: BenchRow
    folder: Path
    trials: list[Settings]
    trial_cost: float
    final_cost: float
    trials_left: int
    finals_left: int
    tried: dict[int, float | None] = field(default_factory=dict)
    failure: str | None = None

    @property
    def name(self) -> str:
        """As in messages."""
        return f"{self.task.name} {self.row.name}"

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

"""The one clock of a run: seconds by kind of work, and the time left."""

import time
from collections.abc import Mapping
from typing import Literal

Work = Literal["train", "evaluation", "checkpoint"]
FORWARD_SHARE = 1 / 3
"""A forward pass as a share of a training step, which goes forward once and back about twice."""


class Clock:
    """Adds up the seconds of each kind of work; each has its own pace in what is left.

    A validation may take longer than an epoch, or come once in a run: mixed into the epochs' mean
    it would make the time left jump.

    Args:
        planned: how often each kind of work is done: batches trained, splits measured,
            checkpoints written.
        worth: work that isn't measured yet, in training batches; what isn't named is left out.
    """

    def __init__(
        self, planned: Mapping[Work, int], worth: Mapping[Work, float] | None = None
    ) -> None:
        self.seconds: dict[Work, float] = dict.fromkeys(planned, 0.0)
        self._planned = planned
        self._done: dict[Work, int] = dict.fromkeys(planned, 0)
        self._worth = worth or {}
        self._last = time.perf_counter()

    def start(self) -> None:
        """What went before is no work of the run."""
        self._last = time.perf_counter()

    def lap(self, work: Work, done: int = 1) -> float:
        """The time since the last lap went into this work.

        Returns:
            The seconds spent on it in the run so far.
        """
        now = time.perf_counter()
        self.add(work, now - self._last, done)
        self._last = now
        return self.seconds[work]

    def add(self, work: Work, seconds: float, done: int) -> None:
        """Count work that was measured elsewhere, as in a run that is resumed."""
        self.seconds[work] += seconds
        self._done[work] += done

    def left(self) -> float:
        """Seconds that the rest of the run will take."""
        return sum(
            self._pace(work) * max(times - self._done[work], 0)
            for work, times in self._planned.items()
        )

    def _pace(self, work: Work) -> float:
        if self._done[work]:
            return self.seconds[work] / self._done[work]
        return self._worth[work] * self._pace("train") if work in self._worth else 0.0

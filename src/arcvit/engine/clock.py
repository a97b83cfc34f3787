"""The one clock of a run: seconds by part, the time that is left, and where the time went."""

import time
from collections.abc import Mapping
from typing import Literal

import torch

Part = Literal[
    "data", "features", "forward", "backward", "optimizer", "step", "evaluation", "checkpoint"
]
Work = Literal["features", "train", "evaluation", "checkpoint"]

PARTS: Mapping[Part, Work] = {
    "data": "train",
    "features": "features",
    "forward": "train",
    "backward": "train",
    "optimizer": "train",
    "step": "train",
    "evaluation": "evaluation",
    "checkpoint": "checkpoint",
}
"""The parts of a run, and the work each belongs to. A captured ``step`` is one: what of its time is
forward, backward or optimizer can't be told."""
LEARNING: tuple[Part, ...] = ("features", "forward", "backward", "optimizer", "step")
"""The parts that learning can't do without."""
FORWARD_SHARE = 1 / 3
"""A forward pass as a share of a training step, which goes forward once and back about twice."""


class Clock:
    """Adds up the seconds of each part of a run: what lies between two laps is one part.

    Each kind of work has its own pace in the time that is left. A validation may take longer than
    an epoch, or come once in a run: mixed into the epochs' mean it would make the time left jump.

    Args:
        device: where the model computes.
        exact: wait for the device at every lap. On a GPU the host runs ahead of the device, and a
            part that only queues work would seem to take no time; waiting costs some speed.
    """

    def __init__(self, device: torch.device | None = None, *, exact: bool = False) -> None:
        self._waits_for = device if exact and device and device.type == "cuda" else None
        self._parts: dict[Part, float] = dict.fromkeys(PARTS, 0.0)
        self._earlier: dict[Work, float] = dict.fromkeys(PARTS.values(), 0.0)
        self._done: dict[Work, int] = dict.fromkeys(PARTS.values(), 0)
        self._planned: Mapping[Work, int] = {}
        self._worth: Mapping[Work, float] = {}
        self._born = self._started = self._last = time.perf_counter()

    def started(self) -> None:
        """Start-up ends here: images, backbone, adapters and trackers are ready."""
        self._started = self._last = time.perf_counter()

    def start(self) -> None:
        """The time since the last lap belongs to no part."""
        self._last = self._now()

    def lap(self, part: Part, done: int = 0) -> None:
        """The time since the last lap, or start, went into this part.

        Args:
            part: what was done.
            done: how much of the part's work is complete by it: batches, splits, checkpoints.
        """
        now = self._now()
        self._parts[part] += now - self._last
        self._done[PARTS[part]] += done
        self._last = now

    def plan(self, times: Mapping[Work, int], worth: Mapping[Work, float]) -> None:
        """Say what a run does.

        Args:
            times: batches trained, splits measured, checkpoints written.
            worth: work that may not be measured yet, in batches trained.
        """
        self._planned, self._worth = times, worth

    def resume(self, work: Work, seconds: float, done: int) -> None:
        """Count what a run did before it was interrupted."""
        self._earlier[work] += seconds
        self._done[work] += done

    def seconds(self, work: Work) -> float:
        """Seconds spent on a kind of work, before an interruption too."""
        return self._earlier[work] + sum(self._parts[p] for p in PARTS if PARTS[p] == work)

    def left(self) -> float:
        """Seconds that the rest of the run will take; work of unknown pace isn't counted."""
        return sum(
            self._pace(work) * max(times - self._done[work], 0)
            for work, times in self._planned.items()
        )

    def profile(self) -> dict[str, float]:
        """Seconds of each part until now: ``wall``, the parts, ``other``; ``startup`` beside.

        ``learning`` is the share of the parts in LEARNING in the wall time.
        """
        wall = self._now() - self._started
        return {
            "startup": self._started - self._born,
            "wall": wall,
            **{str(part): seconds for part, seconds in self._parts.items()},
            "other": wall - sum(self._parts.values()),
            "learning": sum(self._parts[part] for part in LEARNING) / wall,
        }

    def _pace(self, work: Work) -> float:
        if self._done[work]:
            return self.seconds(work) / self._done[work]
        return self._worth[work] * self._pace("train") if work in self._worth else 0.0

    def _now(self) -> float:
        if self._waits_for is not None:
            torch.cuda.synchronize(self._waits_for)
        return time.perf_counter()


def describe(profile: Mapping[str, float]) -> str:
    """A profile as lines to print."""
    wall = profile["wall"]
    lines = [f"{wall:.1f} s after {profile['startup']:.1f} s of start-up:"]
    lines += [
        f"  {part:<11}{profile[part]:8.2f} s {profile[part] / wall:7.1%}"
        for part in (*PARTS, "other")
        if profile[part] or part == "other"
    ]
    lines.append(f"  learning ({', '.join(LEARNING)}) {profile['learning']:.1%}")
    return "\n".join(lines)

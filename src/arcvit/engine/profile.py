"""Where the wall time of a run goes after its start-up."""

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, TypeVar

import torch

Part = Literal["data", "forward", "backward", "optimizer", "evaluation"]
PARTS: tuple[Part, ...] = ("data", "forward", "backward", "optimizer", "evaluation")
LEARNING: tuple[Part, ...] = ("forward", "backward", "optimizer")
"""The parts that learning can't do without."""

Item = TypeVar("Item")


class Profile:
    """Adds up the seconds of each part of a run; parts are never inside one another.

    On a GPU the host runs ahead of the device: a profile waits for the device at the ends of every
    part, which costs some speed. Nothing waits where nothing is profiled.

    Args:
        device: where the model computes.
        enabled: measure; otherwise nothing is done and nothing costs time.
    """

    def __init__(self, device: torch.device, *, enabled: bool) -> None:
        self.enabled = enabled
        self._device = device
        self._seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self._born = self._started = time.perf_counter()

    @classmethod
    def off(cls) -> "Profile":
        """A profile that measures nothing."""
        return cls(torch.device("cpu"), enabled=False)

    def started(self) -> None:
        """Start-up ends here: images, backbone, adapters and trackers are ready."""
        self._started = time.perf_counter()

    def __call__(self, part: Part) -> AbstractContextManager[None]:
        """The time inside the context counts as this part."""
        return self._measure(part) if self.enabled else nullcontext()

    def waiting_for(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items; the time it takes to get each counts as ``data``."""
        iterator = iter(items)
        while True:
            with self("data"):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def record(self) -> dict[str, float]:
        """Seconds of each part until now: ``wall``, the parts, ``other``; ``startup`` beside.

        ``learning`` is the share of forward, backward and optimizer in the wall time.
        """
        now = self._now()
        wall = now - self._started
        learning = sum(self._seconds[part] for part in LEARNING)
        return {
            "startup": self._started - self._born,
            "wall": wall,
            **self._seconds,
            "other": wall - sum(self._seconds.values()),
            "learning": learning / wall,
        }

    @contextmanager
    def _measure(self, part: Part) -> Iterator[None]:
        start = self._now()
        try:
            yield
        finally:
            self._seconds[part] += self._now() - start

    def _now(self) -> float:
        if self.enabled and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def describe(record: dict[str, float]) -> str:
    """A record of a profile as lines to print."""
    wall = record["wall"]
    lines = [f"{wall:.1f} s after {record['startup']:.1f} s of start-up:"]
    lines += [
        f"  {part:<11}{record[part]:8.2f} s {record[part] / wall:7.1%}"
        for part in (*PARTS, "other")
    ]
    lines.append(f"  forward, backward and optimizer together {record['learning']:.1%}")
    return "\n".join(lines)

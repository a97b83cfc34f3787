"""The jobs that wait for a worker, the longest path first; a worker is kept in its place."""

import heapq
import itertools
from collections.abc import Iterable

from arcvit.executors.job import Job

_KEEPS_PLACE = 0.5
"""A worker stays with the place of its last job while that has a path of this share of the
longest one: what it keeps in memory saves less than a long path that starts too late costs."""
_Heap = list[tuple[float, int, Job]]


class Waiting:
    """Jobs to be taken, of 70,000 as fast as of ten.

    Args:
        jobs: to begin with.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._numbers = itertools.count()  # of equal paths the first added goes first
        self._every: _Heap = []
        self._at: dict[str, _Heap] = {}
        self._untaken: set[int] = set()
        self.add(jobs)

    def __bool__(self) -> bool:
        return bool(self._untaken)

    def add(self, jobs: Iterable[Job]) -> None:
        """Let jobs wait."""
        for job in jobs:
            entry = (-job.path, next(self._numbers), job)
            self._untaken.add(entry[1])
            heapq.heappush(self._every, entry)
            heapq.heappush(self._at.setdefault(job.place, []), entry)

    def take(self, place: str | None) -> Job | None:
        """The next job for a worker that was at a place; None: none is wanted any more."""
        longest = self._first(self._every)
        if longest is None:
            return None
        near = self._first(self._at.get(place or "", []))
        if near is None or near.path < _KEEPS_PLACE * longest.path:
            near = longest
        heap = self._every if near is longest else self._at[near.place]
        self._untaken.remove(heapq.heappop(heap)[1])
        return near

    def _first(self, heap: _Heap) -> Job | None:
        """The first of a heap that is still there and wanted; those before it are dropped."""
        while heap:
            _, number, job = heap[0]
            if number in self._untaken and job.wanted():
                return job
            self._untaken.discard(number)
            heapq.heappop(heap)
        return None

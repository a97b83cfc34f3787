"""Give jobs to workers until nothing is left, and those of a dead worker to another."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from arcvit.executors.job import Call, Job, Outcome

_KEEPS_PLACE = 0.5
"""A worker stays with the place of its last job while that has a path of this share of the
longest one: what it keeps in memory saves less than a long path that starts too late costs."""
_MOST_LOSSES = {"worker": 2, "machine": 5}
"""Deaths after which a job counts as their cause. Machines die, or are taken away, without one."""


class Executor(Protocol):
    """Workers that live long and do one call at a time.

    Attributes:
        size: calls that run at once when all workers are there.
    """

    size: int

    def free(self) -> list[str]:
        """Names of the workers that could be given a call."""

    def start(self, worker: str, call: Call) -> None:
        """Give a free worker a call."""

    def wait(self) -> list[tuple[str, Outcome]]:
        """Wait until something happens: outcomes by worker; none where only a worker came free."""

    def close(self) -> None:
        """End all workers; what they were doing is left as it is."""


def run_jobs(jobs: Iterable[Job], executor: Executor, say: Callable[[str], None]) -> None:
    """Run jobs and what follows from them.

    A job whose worker dies is given to another one; if that dies too, the job has failed. The death
    of a whole machine is held against it after more.

    Args:
        jobs: to begin with; each says what follows from its outcome.
        executor: the workers. It is left open.
        say: told of workers that died.
    """
    waiting = list(jobs)
    running: dict[str, Job] = {}
    places: dict[str, str] = {}
    losses: Counter[tuple[str, str]] = Counter()
    while waiting or running:
        waiting = [job for job in waiting if job.wanted()]
        for worker in executor.free():
            if not waiting:
                break
            job = _next(waiting, places.get(worker))
            waiting.remove(job)
            running[worker], places[worker] = job, job.place
            executor.start(worker, job.call)
        for worker, outcome in executor.wait() if running or waiting else ():
            job = running.pop(worker)
            if outcome.lost is None:
                waiting += job.then(outcome)
                continue
            places.pop(worker)
            job.lost()
            losses[job.name, outcome.lost] += 1
            if losses[job.name, outcome.lost] < _MOST_LOSSES[outcome.lost]:
                say(f"{job.name}: {outcome.failure}; another worker takes it")
                waiting.append(job)
            else:
                waiting += job.then(outcome)


def _next(waiting: list[Job], place: str | None) -> Job:
    longest = max(waiting, key=lambda job: job.path)
    near = [j for j in waiting if j.place == place and j.path >= _KEEPS_PLACE * longest.path]
    return max(near, key=lambda job: job.path) if near else longest

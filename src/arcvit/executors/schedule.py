"""Give jobs to workers until nothing is left, and those of a dead worker to another."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from arcvit.executors.job import Call, Job, Outcome
from arcvit.executors.waiting import Waiting

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


def run_jobs(
    jobs: Iterable[Job],
    executor: Executor,
    say: Callable[[str], None],
    doing: Callable[[Sequence[str]], None] = lambda names: None,
) -> None:
    """Run jobs and what follows from them.

    A job whose worker dies is given to another one; if that dies too, the job has failed. The death
    of a whole machine is held against it after more.

    Args:
        jobs: to begin with; each says what follows from its outcome.
        executor: the workers. It is left open.
        say: told of workers that died.
        doing: told the names of the jobs that are being done, when these may have changed.
    """
    waiting = Waiting(jobs)
    running: dict[str, Job] = {}
    places: dict[str, str] = {}
    losses: Counter[tuple[str, str]] = Counter()
    while waiting or running:
        for worker in executor.free() if waiting else ():
            job = waiting.take(places.get(worker))
            if job is None:
                break
            running[worker], places[worker] = job, job.place
            executor.start(worker, job.call)
        doing([job.name for job in running.values()])
        for worker, outcome in executor.wait() if running or waiting else ():
            job = running.pop(worker)
            if outcome.lost is None:
                waiting.add(job.then(outcome))
                continue
            places.pop(worker)
            job.lost()
            losses[job.name, outcome.lost] += 1
            if losses[job.name, outcome.lost] < _MOST_LOSSES[outcome.lost]:
                say(f"{job.name}: {outcome.failure}; another worker takes it")
                waiting.add([job])
            else:
                waiting.add(job.then(outcome))

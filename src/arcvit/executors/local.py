"""Several processes on this machine, each with its share of the cores and one of the GPUs."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess

from arcvit.executors.job import Call, Outcome, answer
from arcvit.executors.worker import become_worker, end_when_told, end_with_owner, thread_settings

_GRACE = 10.0
"""Seconds that a worker has to tidy up."""


@dataclass(frozen=True, kw_only=True)
class _Worker:
    process: SpawnProcess
    pipe: "connection.Connection[Call, Outcome]"


class LocalExecutor:
    """Processes that are started when they are first needed, and again when they have died.

    Args:
        size: how many.
        gpus: the GPUs, as in ``CUDA_VISIBLE_DEVICES``, given out in turn; none: CPU.
    """

    def __init__(self, size: int, gpus: Sequence[str] = ()) -> None:
        self.size = size
        self._names = [f"worker {number + 1}" for number in range(size)]
        self._gpus = gpus
        self._workers: dict[str, _Worker] = {}
        self._busy: set[str] = set()

    def free(self) -> list[str]:
        """Those without a call, started or not."""
        return [name for name in self._names if name not in self._busy]

    def start(self, worker: str, call: Call) -> None:
        """Send a call, to a new process where there is none."""
        self._busy.add(worker)
        if worker not in self._workers:
            self._workers[worker] = self._spawn(self._names.index(worker))
        with suppress(BrokenPipeError):  # it died since; waiting for it says so
            self._workers[worker].pipe.send(call)

    def wait(self) -> list[tuple[str, Outcome]]:
        """Wait for an answer, or for a process to die."""
        by_pipe = {self._workers[name].pipe: name for name in sorted(self._busy)}
        outcomes = []
        for pipe in connection.wait(list(by_pipe)):
            assert isinstance(pipe, connection.Connection)
            name = by_pipe[pipe]
            self._busy.remove(name)
            try:
                outcome: Outcome = pipe.recv()
            except (EOFError, ConnectionError):
                outcome = Outcome(lost="worker", failure=_why(self._workers.pop(name)))
            outcomes.append((name, outcome))
        return outcomes

    def close(self) -> None:
        """End all processes: those at work get some seconds to tidy up."""
        for name, worker in self._workers.items():
            worker.pipe.close()  # which ends those that wait for a call
            if name in self._busy:
                worker.process.terminate()
        for worker in self._workers.values():
            worker.process.join(_GRACE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()
        self._busy.clear()

    def _spawn(self, number: int) -> _Worker:
        cores = _share(number, self.size)
        settings = thread_settings(max(1, len(_cores()) // self.size))
        if self._gpus:
            settings["CUDA_VISIBLE_DEVICES"] = self._gpus[number % len(self._gpus)]
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, cores), daemon=True)
        with _environment(settings):
            process.start()
        theirs.close()  # so that the pipe ends when the process does
        return _Worker(process=process, pipe=ours)


def _work(pipe: "connection.Connection[Outcome, Call]", cores: Sequence[int]) -> None:
    """What a process does all its life."""
    end_when_told()
    end_with_owner()
    become_worker()
    if cores:
        os.sched_setaffinity(0, cores)
    while True:
        try:
            call = pipe.recv()
        except EOFError:
            return
        pipe.send(answer(call))


def _cores() -> list[int]:
    """The cores this process may use; counted only where the system doesn't tell."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _share(number: int, size: int) -> list[int]:
    """The cores of a worker: neighbours, no other worker's; none: it isn't bound to any."""
    cores = _cores()
    each = len(cores) // size
    if each == 0 or not hasattr(os, "sched_setaffinity"):
        return []
    return cores[number * each : (number + 1) * each]


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] or [str(number) for number in range(count)]


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """What a new process inherits; this one's own environment is as before afterwards."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _why(worker: _Worker) -> str:
    worker.process.join()
    worker.pipe.close()
    code = worker.process.exitcode or 0
    if code >= 0:
        return f"its worker ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", as the system does where memory runs out" if name == "SIGKILL" else ""
    return f"its worker was ended by {name}{hint}"

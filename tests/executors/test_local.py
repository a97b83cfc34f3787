"""Processes of this machine: threads, cores, deaths, and that none is left behind."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing

import pytest

from arcvit.executors.job import Call, Job, Outcome
from arcvit.executors.local import LocalExecutor
from arcvit.executors.schedule import run_jobs


@pytest.fixture
def two() -> Iterator[LocalExecutor]:
    with closing(LocalExecutor(2)) as executor:
        yield executor


def ask(executor: LocalExecutor, *calls: Call) -> list[Outcome]:
    """The outcomes of calls."""
    outcomes: list[Outcome] = []
    jobs = [
        Job(name=str(i), call=call, then=lambda outcome: outcomes.append(outcome) or [])
        for i, call in enumerate(calls)
    ]
    run_jobs(jobs, executor, lambda line: None)
    return outcomes


@pytest.mark.slow
def test_workers_share_the_machine_live_on_and_die_alone(
    two: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = dict(os.environ)
    environment = Call(function="os:getenv", arguments={"key": "OMP_NUM_THREADS"})
    passive = Call(function="os:getenv", arguments={"key": "OMP_WAIT_POLICY"})
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    values = [outcome.value for outcome in ask(two, environment, passive)]
    assert values == [str(threads), "PASSIVE"] or values == ["PASSIVE", str(threads)]
    assert dict(os.environ) == before
    pid = Call(function="os:getpid", arguments={})
    first = {outcome.value for outcome in ask(two, pid, pid)}
    assert {outcome.value for outcome in ask(two, pid, pid)} <= first
    # A death is told with its reason; the next call finds a new worker.
    (died,) = ask(two, Call(function="os:_exit", arguments={"status": 3}))
    assert (died.lost, died.failure) == ("worker", "its worker ended with exit code 3")
    os.kill(two._workers["worker 2"].process.pid or 0, signal.SIGKILL)
    assert all(outcome.failure is None for outcome in ask(two, pid, pid))
    processes = [worker.process for worker in two._workers.values()]
    two.close()
    assert not any(process.is_alive() for process in processes)

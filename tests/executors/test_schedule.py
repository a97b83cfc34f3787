"""The order of jobs, what follows from them, and what happens when workers die."""

from collections.abc import Iterable

import pytest

from arcvit.executors.job import Call, Job, Outcome, answer
from arcvit.executors.schedule import run_jobs


class Scripted:
    """Workers that answer at once; jobs in ``deadly`` kill theirs so many times."""

    def __init__(self, size: int = 1, deadly: dict[str, int] | None = None) -> None:
        self.size = size
        self.deadly = deadly or {}
        self.busy: dict[str, str] = {}
        self.done: list[tuple[str, str]] = []

    def free(self) -> list[str]:
        return [name for name in "abc"[: self.size] if name not in self.busy]

    def start(self, worker: str, call: Call) -> None:
        self.busy[worker] = call.function
        self.done.append((worker, call.function))

    def wait(self) -> list[tuple[str, Outcome]]:
        worker = min(self.busy)
        name = self.busy.pop(worker)
        if self.deadly.get(name, 0):
            self.deadly[name] -= 1
            return [(worker, Outcome(lost="worker", failure="its worker was ended by SIGKILL"))]
        return [(worker, Outcome(value=name, seconds=1.0))]

    def close(self) -> None:
        pass


def job(name: str, path: float = 0.0, place: str = "", then: Iterable[Job] = ()) -> Job:
    return Job(
        name=name,
        call=Call(function=name, arguments={}),
        then=lambda outcome: then,
        path=path,
        place=place,
    )


def order(jobs: list[Job], executor: Scripted) -> list[str]:
    run_jobs(jobs, executor, lambda line: None)
    return [name for _, name in executor.done]


def test_the_longest_path_goes_first_and_what_follows_is_queued() -> None:
    jobs = [job("short", 1), job("long", 3, then=[job("final", 2)])]
    assert order(jobs, Scripted()) == ["long", "final", "short"]


def test_a_worker_stays_where_it_has_been_unless_that_is_short() -> None:
    near = [job("a1", 4, "A"), job("b1", 3.5, "B"), job("a2", 3, "A"), job("a3", 1, "A")]
    assert order(near, Scripted()) == ["a1", "a2", "b1", "a3"]


def test_a_job_goes_to_another_worker_once() -> None:
    outcomes: list[Outcome] = []

    def noted(name: str) -> Job:
        call = Call(function=name, arguments={})
        return Job(name=name, call=call, then=lambda outcome: outcomes.append(outcome) or [])

    said: list[str] = []
    executor = Scripted(deadly={"unlucky": 1, "deadly": 2})
    run_jobs([noted("unlucky"), noted("deadly"), noted("good")], executor, said.append)
    names = [name for _, name in executor.done]
    assert sorted(names) == ["deadly", "deadly", "good", "unlucky", "unlucky"]
    assert [outcome.value for outcome in outcomes if not outcome.lost] == ["good", "unlucky"]
    (lost,) = [outcome for outcome in outcomes if outcome.lost]
    assert lost.failure == "its worker was ended by SIGKILL"
    assert said[0] == "unlucky: its worker was ended by SIGKILL; another worker takes it"


def test_what_is_not_wanted_any_more_is_left_out() -> None:
    failed: list[str] = []

    def fail(outcome: Outcome) -> list[Job]:
        failed.append(str(outcome.value))
        return []

    call = Call(function="x", arguments={})
    jobs = [
        Job(name=name, call=call, then=fail, wanted=lambda: not failed) for name in ("one", "two")
    ]
    run_jobs(jobs, Scripted(), lambda line: None)
    assert len(failed) == 1


@pytest.mark.parametrize(
    ("function", "arguments", "sentence"),
    [
        ("arcvit.core.extras:require", {"extra": "bench", "what": "x"}, None),
        ("arcvit.core.errors:nearest", {"name": "x", "known": 3}, "TypeError: 'int' object is"),
        ("arcvit.sweep.space:load_space", {"name": "gird", "rows": []}, "--search 'gird' isn't"),
    ],
)
def test_errors_become_sentences(
    function: str, arguments: dict[str, object], sentence: str | None
) -> None:
    failure = answer(Call(function=function, arguments=arguments)).failure
    assert failure == sentence or (sentence and str(failure).startswith(sentence))

"""Whose turn it is: no request keeps the others waiting, whatever its size."""

import time
from typing import Any

import pytest
import torch
from torch import nn

from arcvit.serve.adapter import Adapter
from arcvit.serve.work import Item, Work, WorkQueue

ROW = torch.zeros(1)


def adapter(*, folded: bool = False) -> Adapter:
    what: Any = None  # nothing of it is looked at here
    model = nn.Identity() if folded else None
    about = {"labels": (), "about": what, "preprocessing": what, "means": None}
    return Adapter(task="task", version=1, weight=ROW, bias=ROW, folded=model, **about)


def work(rows: int, of: Adapter | None = None) -> Work:
    return Work(adapter=of, rows=[ROW] * rows, finish=lambda work, error: None)


def batches(queue: WorkQueue) -> list[list[Item]]:
    queue.close(drop=False)
    given_up: list[Work] = []
    found = []
    while (batch := queue.take(given_up.append)) is not None:
        assert isinstance(batch, list)
        found.append(batch)
    assert not given_up
    return found


def test_one_image_is_taken_within_two_batches_of_a_large_request() -> None:
    for parts in (1, 64):  # of one task, and of many
        queue = WorkQueue(8, 0.0, most_adapters=64)
        large = [work(1024 // parts, adapter()) for _ in range(parts)]
        queue.put(large)
        running = queue.take(lambda work: None)
        assert isinstance(running, list)
        one = work(1, adapter())
        queue.put([one])
        after = batches(queue)
        assert (one, 0) in after[0]
        everything = [item for batch in [running, *after] for item in batch]
        assert len(everything) == 1025
        assert all(len(batch) == 8 for batch in after[:-1])
        for each in large:
            assert [i for w, i in everything if w is each] == list(range(1024 // parts))


def test_requests_take_turns() -> None:
    queue = WorkQueue(4, 0.0, most_adapters=2)
    three = [work(2, adapter()) for _ in range(3)]
    for each in three:
        queue.put([each])
    a, b, c = three
    # The third adapter finds no place in the first batch, and begins the second.
    assert batches(queue) == [[(a, 0), (b, 0), (a, 1), (b, 1)], [(c, 0), (c, 1)]]


def test_a_folded_task_waits_for_one_batch_at_most() -> None:
    queue = WorkQueue(4, 0.0, most_adapters=8)
    shared, folded = work(9, adapter()), work(2, adapter(folded=True))
    both = [work(1, adapter(folded=True)), work(1, adapter())]
    for works in ([shared], [folded], both):
        queue.put(works)
    first, second, third, *_ = batches(queue)
    assert first == [(shared, 0), (both[1], 0), (shared, 1), (shared, 2)]
    assert second == [(folded, 0), (folded, 1)]
    assert third == [(both[0], 0)]


def test_a_batch_waits_for_more_rows_from_the_first_on() -> None:
    queue = WorkQueue(2, 0.05, most_adapters=8)
    start = time.monotonic()
    queue.put([work(1)])
    assert len(queue.take(lambda work: None) or "") == 1
    assert time.monotonic() - start >= 0.05
    queue.put([work(2)])
    queue.take(lambda work: None)
    assert time.monotonic() - start < 0.1


@pytest.mark.parametrize("how", ["cancelled", "over", "late", "removed"])
def test_the_dead_leave_when_it_is_their_turn(how: str) -> None:
    queue, task = WorkQueue(4, 0.0, most_adapters=8), adapter()
    dead, alive = work(9, task), work(1)
    dead.cancelled, dead.over = how == "cancelled", how == "over"
    dead.deadline = 0.0 if how == "late" else None
    task.removed = "gone" if how == "removed" else None
    queue.put([dead, alive])
    given_up: list[Work] = []
    assert queue.take(given_up.append) == [(alive, 0)]
    assert given_up == [dead]

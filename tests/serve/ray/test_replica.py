"""A replica without a cluster: the state that each call names, and what comes back."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.serve.ray.merged import merged_statuses, unread_status
from arcvit.serve.ray.replica import PULSE, Behind, Replica
from arcvit.serve.refusals import NotAnImage, QueueFull, Refused, TaskRemoved, UnknownTask
from arcvit.serve.registry import Entry
from arcvit.serve.request import Answers, Images, State, TaskStats, TaskStatus
from arcvit.serve.settings import ServeSettings

from ..conftest import MakeAdapter, run

UNLOADED = {"task": {"unloaded": True}}


@pytest.fixture
def replica(make_adapter: MakeAdapter, tiny: Path, tmp_path: Path) -> Iterator[Replica]:
    make_adapter(tmp_path / "task")
    replica = Replica(str(tiny), tmp_path, ServeSettings(device="cpu", watch=0, workers=1))
    yield replica
    run(replica.call(9, {}, "drain", {"timeout": 5}))


def test_no_replica_answers_by_an_old_state(replica: Replica, eight: Images) -> None:
    asked = ("predict", {"task": "task", "images": eight}, 30.0)

    async def in_turn() -> None:
        assert isinstance((await replica.call(1, None, *asked)).value, Behind)
        assert isinstance((await replica.call(1, {}, *asked)).value, Answers)
        assert isinstance((await replica.call(1, None, *asked)).value, Answers)
        # Another one was told to unload it.
        assert isinstance((await replica.call(2, None, *asked)).value, Behind)
        assert isinstance((await replica.call(2, UNLOADED, *asked)).value, TaskRemoved)
        # A call that was on its way meanwhile doesn't take it back.
        assert isinstance((await replica.call(1, {}, *asked)).value, TaskRemoved)
        assert isinstance((await replica.call(3, {}, *asked)).value, Answers)

    run(in_turn())


def test_what_was_replaced_is_read_before_the_next_answer(
    replica: Replica, make_adapter: MakeAdapter, eight: Images, tmp_path: Path
) -> None:
    asked = ("predict", {"task": "task", "images": eight}, 30.0)

    async def in_turn() -> None:
        before = (await replica.call(1, {}, *asked)).value
        make_adapter(tmp_path / "task", seed=1)
        after = (await replica.call(2, {}, *asked)).value
        assert before.rows[0].labels != after.rows[0].labels

    run(in_turn())


def test_each_batch_is_told_once(replica: Replica, eight: Images) -> None:
    async def in_turn() -> list[int]:
        sizes = []
        replies = [await replica.call(1, {}, "embed", {"images": eight}, 30.0)]
        while sum(sizes) < len(eight):  # a pass is counted after it was answered
            replies.append(await replica.call(1, None, PULSE, {}))
            sizes = [size for reply in replies for size, _ in reply.batches]
        assert not (await replica.call(1, None, PULSE, {})).batches
        return sizes

    assert sum(run(in_turn())) == len(eight)


def test_a_node_that_does_not_see_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    missing = tmp_path / "away"
    with pytest.raises(UserError, match=r"^on node [\d.]+: '.*away' isn't there"):
        Replica("demo", missing, ServeSettings())


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (UnknownTask("fruits", ["fruit"]), {}),
        (QueueFull(8, 1.5), {"retry_after": 1.5}),
        (NotAnImage(3, "torn"), {"index": 3, "why": "torn"}),
    ],
)
def test_refusals_travel(refusal: Refused, said: dict[str, object]) -> None:
    received = pickle.loads(pickle.dumps(refusal))
    assert (type(received), str(received)) == (type(refusal), str(refusal))
    assert vars(received) == said


def test_statuses_of_all_replicas() -> None:
    def status(state: State, *, resident: bool = False) -> TaskStatus:
        labels = ("a", "b") if state == "ready" else None
        return TaskStatus(
            name="t", version=1, versions=(1,), labels=labels, state=state, resident=resident
        )

    told = [[status("registered")], [status("ready", resident=True)], [status("broken")], []]
    assert merged_statuses(told) == [status("ready", resident=True)]
    (unread,) = merged_statuses([[unread_status(Entry(name="t", places={}, unloaded=True))]])
    assert (unread.state, unread.version) == ("unloaded", None)


def test_sums_of_what_replicas_have_done() -> None:
    told = [TaskStats(requests=1, seconds=0.5, last=7.0), TaskStats(requests=2), TaskStats()]
    assert sum(told, TaskStats()) == TaskStats(requests=3, seconds=0.5, last=7.0)
    assert (TaskStats() + TaskStats()).last is None

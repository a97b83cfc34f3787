"""Adapters come and go at the worst moment: nothing stale is served, and nobody waits for ever."""

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from arcvit.serve import memory
from arcvit.serve.daemons import Daemons
from arcvit.serve.refusals import Broken, Draining, TaskRemoved, UnknownTask
from arcvit.serve.request import Images
from arcvit.serve.service import Service

from .conftest import MakeAdapter, StartService, run

pytestmark = pytest.mark.slow


async def label(service: Service, task: str, images: Images) -> str:
    """The first label: adapters have others by their seeds."""
    return (await service.predict(task, images)).rows[0].labels[0]


def test_a_load_whose_client_goes_away_spoils_no_later_one(
    make_adapter: MakeAdapter, start: StartService, eight: Images, tmp_path: Path
) -> None:
    make_adapter(tmp_path / "task")
    service = start(tmp_path)
    go = threading.Event()
    assert service._tasks._memory is not None
    for _ in range(memory._LOADERS):
        service._tasks._memory._loaders.submit(lambda: go.wait(20))

    async def loaded() -> None:
        loading = asyncio.create_task(service.load("task"))
        await asyncio.sleep(0.1)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        go.set()
        assert await label(service, "task", eight) == "label 0.0"
        assert (await service.load("task")).state == "ready"

    run(loaded())


@pytest.mark.parametrize("how", ["a higher one comes", "by command", "replaced by a higher one"])
def test_what_waits_for_a_version_is_finished_by_it(
    make_adapter: MakeAdapter, start: StartService, eight: Images, tmp_path: Path, how: str
) -> None:
    task = tmp_path / "task"
    make_adapter(task / "1", seed=1)
    service = start(tmp_path)
    go = threading.Event()

    async def upgraded() -> None:
        await label(service, "task", eight)
        service._engine.queue.call(lambda: go.wait(20))
        asked = asyncio.create_task(service.predict("task", eight))
        while len(service._engine.queue) < 8:
            await asyncio.sleep(0.01)
        make_adapter(task / "2", seed=2)
        if how == "by command":
            await service.load("task")
        else:
            if how == "replaced by a higher one":
                shutil.rmtree(task / "1")
            await asyncio.to_thread(service.refresh)
        go.set()
        assert (await asked).version == 1
        assert await label(service, "task", eight) == "label 2.0"

    run(upgraded())


def test_removed_while_it_is_read(
    make_adapter: MakeAdapter,
    start: StartService,
    eight: Images,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_adapter(tmp_path / "task", seed=1)
    make_adapter(tmp_path / ".new", seed=2)
    service = start(tmp_path)
    reads, go = threading.Event(), threading.Event()
    reader = service._tasks._opened._reader
    read = reader.read

    def slowly(*given: Any, **more: Any) -> Any:
        reads.set()
        go.wait(20)
        return read(*given, **more)

    async def removed() -> None:
        asked = asyncio.create_task(label(service, "task", eight))
        await asyncio.to_thread(reads.wait, 10)
        shutil.rmtree(tmp_path / "task")
        await asyncio.to_thread(service.refresh)
        go.set()
        with pytest.raises(TaskRemoved, match="task 'task' was removed"):
            await asked
        (tmp_path / ".new").rename(tmp_path / "task")
        assert await label(service, "task", eight) == "label 2.0"

    monkeypatch.setattr(reader, "read", slowly)
    run(removed())


def test_a_load_of_what_is_gone_takes_it_off(
    make_adapter: MakeAdapter, start: StartService, eight: Images, tmp_path: Path
) -> None:
    make_adapter(tmp_path / "task", seed=1)
    make_adapter(tmp_path / ".new", seed=2)
    service = start(tmp_path)
    assert run(label(service, "task", eight)) == "label 1.0"
    shutil.rmtree(tmp_path / "task")
    with pytest.raises(UnknownTask):
        run(service.load("task"))
    (tmp_path / ".new").rename(tmp_path / "task")
    assert run(label(service, "task", eight)) == "label 2.0"


def test_of_a_pinned_task_one_version_stays(
    make_adapter: MakeAdapter, start: StartService, eight: Images, tmp_path: Path
) -> None:
    for seed in (1, 2):
        make_adapter(tmp_path / "pinned" / str(seed), seed=seed)
    make_adapter(tmp_path / "other", seed=3)
    (tmp_path / "adapters.yaml").write_text("pin: [pinned]")
    service = start(tmp_path, slots=2)
    run(service.load("pinned", {"all": {}}))
    for version in (1, 2):
        run(service.predict("pinned", eight, version=version))
    for _ in range(2):  # what is on the device is told behind the answer
        assert run(label(service, "other", eight)) == "label 3.0"
    on_device = {(adapter.task, adapter.version) for adapter in service._engine.resident}
    assert on_device == {("pinned", 2), ("other", 1)}


def test_a_plan_may_come_before_what_it_names(
    make_adapter: MakeAdapter,
    start: StartService,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_adapter(tmp_path / "task")
    service = start(tmp_path)
    (tmp_path / "adapters.yaml").write_text("pin: [new]")
    for _ in range(3):
        service.refresh()
    assert [m for m in caplog.messages if "there is no such task" in m] == caplog.messages
    assert len(caplog.messages) == 1
    make_adapter(tmp_path / "new")
    service.refresh()
    assert {status.name: status.pinned for status in run(service.tasks())} == {
        "new": True,
        "task": False,
    }


def test_a_source_that_was_away_comes_back(
    make_adapter: MakeAdapter, start: StartService, eight: Images, tmp_path: Path
) -> None:
    folder, away = tmp_path / "adapters", tmp_path / "away"
    folder.mkdir()
    (folder / "adapters.yaml").write_text(f"sources: {{far: 'file://{away}', near: {away}}}")
    away.mkdir()
    service = start(folder)
    for task in ("far", "near", "far"):
        with pytest.raises(Broken, match=f"'{task}' can't be served") as told:
            run(label(service, task, eight))
        assert str(tmp_path) not in str(told.value)
    make_adapter(away)
    with pytest.raises(Broken):  # it isn't asked again at once
        run(label(service, "far", eight))
    broken = service._tasks._opened._broken
    broken["far", 1] = broken["far", 1]._replace(until=0.0)
    assert run(label(service, "far", eight)) == "label 0.0"


def test_what_is_dropped_while_it_is_decoded_is_told_so(
    make_adapter: MakeAdapter, start: StartService, eight: Images, tmp_path: Path
) -> None:
    make_adapter(tmp_path / "task")
    service = start(tmp_path, workers=1)
    go = threading.Event()

    async def dropped() -> None:
        await label(service, "task", eight)
        assert service._asker is not None
        service._asker._pool.submit(go.wait, 20)
        asked = asyncio.create_task(label(service, "task", eight))
        await asyncio.sleep(0.1)
        assert await service.drain(0) == 1
        go.set()
        with pytest.raises(Draining, match="ask another one"):
            await asked

    run(dropped())


def test_a_closed_pool_begins_nothing() -> None:
    pool, go, begun = Daemons(1, "test"), threading.Event(), threading.Event()

    def wait() -> bool:
        begun.set()
        return go.wait(20)

    running = pool.submit(wait)
    assert begun.wait(10)
    waiting = pool.submit(lambda: 1)
    pool.close()
    go.set()
    assert running.result(10)
    assert waiting.cancelled()
    assert pool.submit(lambda: 1).cancelled()

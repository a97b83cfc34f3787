"""Adapters are added, replaced, removed and broken while others are served."""

import asyncio
import json
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arcvit.core.errors import UserError
from arcvit.serve.refusals import Broken, TaskRemoved, UnknownTask, UnknownVersion
from arcvit.serve.request import Answers, Images
from arcvit.serve.service import Service
from arcvit.serve.settings import ServeSettings

from .conftest import MakeAdapter, StartService, run


def first(answers: Answers) -> tuple[str, float]:
    """The first label, and the largest probability on the first image: adapters have others."""
    return answers.rows[0].labels[0], round(float(answers.rows[0].probabilities.max()), 4)


def ask(service: Service, task: str, images: Images, **how: Any) -> tuple[str, float]:
    return first(run(service.predict(task, images, **how)))


def test_versions_and_what_was_said_of_them_outlive_a_restart(
    make_adapter: MakeAdapter, start: StartService, eight: Images, tmp_path: Path
) -> None:
    folder = tmp_path / "adapters"
    make_adapter(folder / "task" / "1", seed=1)
    make_adapter(folder / "task" / "10" / "adapter", seed=10)  # a run
    make_adapter(folder / "bare", seed=5)
    make_adapter(folder / "task" / "x", seed=7)
    service = start(folder)
    assert ask(service, "task", eight)[0] == "label 10.0"
    assert ask(service, "bare", eight, version=1)[0] == "label 5.0"
    with pytest.raises(UnknownVersion, match="serves no version 1: expected 10"):
        ask(service, "task", eight, version=1)
    status = run(service.load("task", {"specific": {"versions": [1]}}))
    assert (status.version, status.versions, status.state) == (1, (1,), "ready")
    run(service.unload("bare"))
    with pytest.raises(TaskRemoved, match="'bare' was unloaded: load it"):
        ask(service, "bare", eight)
    again = start(folder)
    assert ask(again, "task", eight)[0] == "label 1.0"
    assert [s.state for s in run(again.tasks())] == ["unloaded", "ready"]
    run(again.load("bare"))
    assert ask(again, "bare", eight)[0] == "label 5.0"
    run(again.load("task", {"all": {}}))
    assert [ask(again, "task", eight, version=v)[0] for v in (None, 1)] == [
        "label 10.0",
        "label 1.0",
    ]
    for policy in ({"latest": {"num_versions": 0}}, {"specific": {}}, {"newest": {}}, 3):
        with pytest.raises(UserError, match=r'version_policy is .*expected \{"latest"'):
            run(again.load("task", policy))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="has no such version: expected one of 1, 10"):
        run(again.load("task", {"specific": {"versions": [3]}}))


@pytest.mark.slow
def test_more_tasks_than_slots_and_memory(
    make_adapter: MakeAdapter, start: StartService, eight: Images, tmp_path: Path
) -> None:
    names = [f"task-{seed}" for seed in range(6)]
    for seed, name in enumerate(names):
        plus = {"variant": "arc_plus", "r": 5} if seed % 2 else {}
        make_adapter(tmp_path / name, seed=seed, labels=2 + seed, known=0.0, **plus)
    (tmp_path / "adapters.yaml").write_text("pin: [task-5]")
    expected = {name: ask(start(tmp_path), name, eight) for name in names[:1]}
    service = start(tmp_path, slots=3, memory=2)
    for _ in range(2):
        for name in names:
            expected.setdefault(name, ask(service, name, eight))
            assert ask(service, name, eight) == expected[name]
    every = run(service.predict_many(names, eight))
    assert {name: first(answers) for name, answers in every.items()} == expected
    states = {s.name: s for s in run(service.tasks())}
    assert states["task-5"].pinned
    assert states["task-5"].resident
    assert sum(s.resident for s in states.values()) <= 3


BREAKS: dict[str, tuple[dict[str, Any], str]] = {
    "lora": ({"method": "lora"}, "adapters of LORA share no batch with others: list the task"),
    "large": ({"size": 64}, "other weights"),
    "rank": ({"r": 20}, r"its rank is 20, and the server takes up to 16 \(max_rank\)"),
    "biases": ({"bias": "all"}, "it trains biases of the backbone too"),
    "norm": ({"modules_to_save": ["head", "norm"]}, "it trains head, norm, and not its head alone"),
}


@pytest.mark.slow
def test_a_broken_adapter_is_refused_with_its_reason(
    make_adapter: MakeAdapter,
    start: StartService,
    other_tiny: Path,
    eight: Images,
    tmp_path: Path,
) -> None:
    for name, (about, _) in BREAKS.items():
        make_adapter(tmp_path / name, **about)
    make_adapter(tmp_path / "stranger", backbone=other_tiny)
    for name in ("good", "torn", "plain"):
        make_adapter(tmp_path / name)
    weights = tmp_path / "torn" / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8])
    (tmp_path / "plain" / "task.json").unlink()
    service = start(tmp_path, max_rank=16)
    reasons = {name: reason for name, (_, reason) in BREAKS.items()} | {
        "stranger": "other weights",
        "torn": "torn/adapter_model.safetensors is damaged",
        "plain": "expected task.json in it",
    }
    for _ in range(2):
        for name, reason in reasons.items():
            with pytest.raises(Broken, match=f"task '{name}' can't be served: ") as told:
                ask(service, name, eight)
            assert re.search(reason, str(told.value))
            assert str(tmp_path) not in str(told.value)
        assert ask(service, "good", eight)[0] == "label 0.0"
    states = {s.name: s for s in run(service.tasks())}
    assert states["torn"].state == "broken"
    assert "is damaged" in states["torn"].reason
    weights.write_bytes(whole)
    service.refresh()
    assert ask(service, "torn", eight) == ask(service, "good", eight)
    # What was read is served on where its files are spoilt afterwards.
    weights.write_bytes(b"")
    service.refresh()
    with pytest.raises(Broken):
        run(service.load("torn"))
    assert ask(service, "torn", eight) == ask(service, "good", eight)
    states = {s.name: s for s in run(service.tasks())}
    assert "what was read before is served" in states["torn"].reason


@pytest.mark.slow
def test_replaced_while_asked_by_threads(
    make_adapter: MakeAdapter, start: StartService, eight: Images, tmp_path: Path
) -> None:
    """Half of one and half of another would be a label of the one with the other's number."""
    for seed in range(2):
        make_adapter(tmp_path / f"made-{seed}", seed=seed, variant=("arc", "arc_plus")[seed], r=6)
    folder = tmp_path / "adapters"
    for name in ("changing", "steady"):
        shutil.copytree(tmp_path / "made-0", folder / name)
    service = start(folder, slots=2, max_batch=4)
    steady = ask(service, "steady", eight)
    assert ask(service, "changing", eight) == steady
    seen: set[tuple[str, float]] = set()
    stop = threading.Event()

    async def client() -> None:
        while not stop.is_set():
            answers = await service.predict_many(["changing", "steady"], eight)
            seen.add(first(answers["changing"]))
            assert first(answers["steady"]) == steady

    with ThreadPoolExecutor(3) as threads:
        clients = [threads.submit(run, client()) for _ in range(3)]
        try:
            for change in range(5):
                new = folder / ".new"
                shutil.copytree(tmp_path / f"made-{(change + 1) % 2}", new)
                shutil.rmtree(folder / "changing")
                new.rename(folder / "changing")
                run(service.load("changing"))
                assert ask(service, "changing", eight)[0] == f"label {(change + 1) % 2}.0"
        finally:
            stop.set()
    for done in clients:
        done.result()
    ends = {ask(service, "changing", eight), steady}
    assert seen <= ends


def test_removed_while_it_waits(
    make_adapter: MakeAdapter, start: StartService, eight: Images, tmp_path: Path
) -> None:
    for seed, name in enumerate(("gone", "stays")):
        make_adapter(tmp_path / name, seed=seed)
    service = start(tmp_path)
    go = threading.Event()

    async def removed() -> None:
        await service.predict_many(["gone", "stays"], eight)
        service._engine.queue.call(lambda: go.wait(20))
        asked = [asyncio.create_task(service.predict(n, eight)) for n in ("gone", "stays")]
        both = asyncio.create_task(service.predict_many(["gone", "stays"], eight))
        while len(service._engine.queue) < 32:
            await asyncio.sleep(0.01)
        shutil.rmtree(tmp_path / "gone")
        await asyncio.to_thread(service.refresh)
        go.set()
        assert first(await asked[1])[0] == "label 1.0"
        with pytest.raises(TaskRemoved, match="task 'gone' was removed"):
            await asked[0]
        said = await both
        assert isinstance(said["gone"], TaskRemoved)
        assert first(said["stays"])[0] == "label 1.0"
        with pytest.raises(UnknownTask):
            await service.predict("gone", eight)

    run(removed())
    assert [s.resident for s in run(service.tasks())] == [True]
    make_adapter(tmp_path / "new", seed=4)
    assert ask(service, "new", eight)[0] == "label 4.0"  # without a look at the whole folder


@pytest.mark.slow
def test_folded_and_from_elsewhere(
    make_adapter: MakeAdapter, start: StartService, eight: Images, tmp_path: Path
) -> None:
    folder = tmp_path / "adapters"
    make_adapter(folder / "arc", known=0.0)
    make_adapter(tmp_path / "lora", seed=1, method="lora")
    make_adapter(tmp_path / "away" / "2", seed=2)
    shutil.copytree(folder / "arc", folder / "arc folded")
    plan = {
        "folded": ["arc folded", "lora"],
        "sources": {
            "lora": f"file://{tmp_path}/lora",
            "away": str(tmp_path / "away"),
            "hub": "somebody/something@main",
            "lost": str(tmp_path / "lost"),
        },
    }
    (folder / "adapters.yaml").write_text(json.dumps(plan))
    service = start(folder)
    every = run(service.predict_many(["arc", "arc folded", "lora", "away"], eight))
    for shared, folded in zip(every["arc"].rows, every["arc folded"].rows, strict=True):
        np.testing.assert_allclose(shared.probabilities, folded.probabilities, atol=1e-5)
        assert shared.known == folded.known
    assert first(every["lora"])[0] == "label 1.0"
    for name, own in (("arc folded", ("qkv", "fc1", "head")), ("lora", ("qkv", "head"))):
        model = run(service._tasks.adapter(name)).folded
        backbone = {id(weight) for weight in service._engine._model._model.parameters()}
        alone = [n for n, weight in model.named_parameters() if id(weight) not in backbone]
        assert all(n.split(".")[-2] in own for n in alone)  # the rest is the backbone's
    assert (first(every["away"])[0], every["away"].version) == ("label 2.0", 2)
    with pytest.raises(Broken, match="no adapter 'somebody/something'"):
        ask(service, "hub", eight)
    with pytest.raises(Broken, match="isn't there: expected a folder"):
        ask(service, "lost", eight)


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        ("pins: [task]", "adapters.yaml has the key 'pins': expected pin, folded, sources.*'pin'"),
        ("pin: [taks]", "pin has 'taks', and there is no such task. Did you mean 'task'"),
        ("folded: [other]", "folded has 'other', and there is no such task"),
        ("pin: task", "pin is 'task': expected a list"),
        ("sources: {1: /a}", "sources has 1, which is no text in YAML: put the name in quotes"),
        ("pin: [2024]", "pin has 2024, which is no text in YAML"),
        ("sources: {a: ' '}", "sources has nothing for 'a': expected a folder"),
        ("sources: {a: 3}", "sources is {'a': 3}: expected keys and values"),
        ("sources: {../a: x}", "sources has '../a': expected a name without a slash"),
        ("pin: [task, task2]", "pins 2 tasks, and there are 2 slots"),
        ("[", "isn't YAML"),
    ],
)
def test_a_wrong_plan(tmp_path: Path, plan: str, sentence: str) -> None:
    for name in ("task", "task2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "task.json").write_text("{}")
    (tmp_path / "adapters.yaml").write_text(plan)
    with pytest.raises(UserError, match=sentence):
        Service("demo", tmp_path, ServeSettings(slots=2))


def test_a_wrong_folder_or_state(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "task.json").write_text("{}")
    (tmp_path / "a file").write_text("")
    policy = {"tasks": {"task": {"version_policy": {"newest": {}}}}}
    (tmp_path / "state").write_text(json.dumps(policy))
    for folder, state, sentence in [
        ("task", None, "is an adapter itself: expected the folder in which it lies"),
        ("a file", None, "isn't there: expected a folder"),
        ("nowhere", None, "isn't there: expected a folder"),
        (".", "task", "is a folder: expected a file"),
        (".", "state", "state is damaged: of 'task', version_policy is .*Mend or remove it"),
    ]:
        with pytest.raises(UserError, match=sentence):
            file = None if state is None else tmp_path / state
            Service("demo", tmp_path / folder, state_file=file)


@pytest.mark.slow
def test_a_plan_that_changes_is_followed_whole_or_not_at_all(
    make_adapter: MakeAdapter,
    start: StartService,
    eight: Images,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "adapters"
    for seed in range(3):
        make_adapter(folder / f"task-{seed}", seed=seed)
    make_adapter(tmp_path / "away-1", seed=8)
    make_adapter(tmp_path / "away-2", seed=9)
    file = folder / "adapters.yaml"
    file.write_text("pin: [task-0]")
    service = start(folder, slots=2)

    def states(what: str) -> list[str]:
        ask(service, "task-1", eight)  # behind what the engine was told before
        return [status.name for status in run(service.tasks()) if getattr(status, what)]

    assert states("pinned") == ["task-0"]
    file.write_text(f"sources: {{bird: {tmp_path}/away-1}}\npin: [bird]\nfolded: [task-1]")
    run(service.load("task-2"))
    run(service.load("task-1"))
    assert ask(service, "bird", eight)[0] == "label 8.0"
    before = ask(service, "task-1", eight)
    assert (states("pinned"), states("folded")) == (["bird"], ["task-1"])
    for name in ("task-0", "task-2", "task-0"):
        ask(service, name, eight)
    assert states("resident") == ["bird", "task-0"]  # task-1 has a model of its own
    for wrong in ("pin: [brid]", "sources: {bird: ", "pin: [task-0, task-1]"):
        file.write_text(wrong)
        service.refresh()
        assert "What it said before goes on." in caplog.messages[-1]
        assert states("pinned") == ["bird"]
    file.write_text(f"sources: {{bird: {tmp_path}/away-2}}")
    service._tasks.refresh(settled=60)  # as the watcher does, for it may be half written
    assert states("pinned") == ["bird"]
    service.refresh()
    run(service.load("bird"))
    assert ask(service, "bird", eight)[0] == "label 9.0"
    run(service.load("task-1"))
    assert ask(service, "task-1", eight) == pytest.approx(before)
    assert (states("pinned"), states("folded")) == ([], [])
    file.unlink()
    service.refresh()
    with pytest.raises(UnknownTask):
        ask(service, "bird", eight)

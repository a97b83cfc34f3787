"""The clock of a run: work is timed apart, and what is left follows from the pace of each."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from arcvit.engine import clock as module
from arcvit.engine.clock import PARTS, Clock, describe
from arcvit.engine.features import FeatureBank


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """``passes(seconds)``: time goes by."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_a_rare_validation_doesnt_change_the_pace_of_training(passes) -> None:
    clock = Clock()
    clock.plan({"train": 40, "evaluation": 2, "checkpoint": 0}, worth={})
    for _ in range(20):
        passes(0.25)
        clock.lap("data")
        passes(0.75)
        clock.lap("optimizer", 1)
    passes(100.0)
    clock.lap("evaluation", 1)
    # 20 more batches and one validation, not 20 epochs of six seconds.
    assert clock.left() == pytest.approx(20 * 1.0 + 100.0)
    assert (clock.seconds("train"), clock.seconds("evaluation")) == (20.0, 100.0)


def test_validation_that_isnt_measured_yet_is_estimated_by_its_images(passes) -> None:
    clock = Clock()
    clock.plan({"train": 10, "evaluation": 1}, worth={"evaluation": 6})
    assert clock.left() == 0
    passes(2.0)
    clock.lap("optimizer", 1)
    assert clock.left() == pytest.approx(9 * 2.0 + 6 * 2.0)


def test_a_resumed_run_goes_on_at_the_pace_it_had(passes) -> None:
    clock = Clock()
    clock.plan({"train": 10, "evaluation": 1}, worth={})
    clock.resume("train", 12.0, 4)
    assert clock.left() == pytest.approx(6 * 3.0)
    # More work than planned, as the test split after the last epoch, leaves nothing below zero.
    clock.resume("evaluation", 5.0, 3)
    clock.resume("train", 18.0, 6)
    assert clock.left() == 0
    # Where the time went is asked of this process alone.
    passes(1.0)
    assert clock.profile()["forward"] == 0


def test_the_profile_adds_up(passes) -> None:
    clock = Clock()
    passes(3)
    clock.started()
    for part, seconds in (("forward", 4), ("backward", 8), ("forward", 1), ("optimizer", 5)):
        passes(seconds)
        clock.lap(part)  # type: ignore[arg-type]
    passes(1)
    clock.start()
    passes(1)
    profile = clock.profile()
    assert profile == {
        "startup": 3,
        "wall": 20,
        **dict.fromkeys(PARTS, 0),
        "forward": 5,
        "backward": 8,
        "optimizer": 5,
        "other": 2,
        "learning": 0.9,
    }
    text = describe(profile)
    assert text.startswith("20.0 s after 3.0 s of start-up:\n")
    assert "backward       8.00 s   40.0%" in text
    assert "step  " not in text  # a part that wasn't
    assert text.endswith("optimizer, step) 90.0%")


@pytest.mark.parametrize("exact", [True, False])
def test_it_waits_for_cuda_only_where_it_must_be_exact(
    monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    waits: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    clock = Clock(torch.device("cuda"), exact=exact)
    clock.lap("forward")
    assert bool(waits) is exact


def test_a_run_fills_it(
    trainer: Callable[..., object],
    toy: Callable[..., nn.Module],
    features: Callable[..., FeatureBank],
    tmp_path,
) -> None:
    settings = {"epochs": 2, "batch_size": 8, "val": features(8)}
    made = trainer(toy(), features(32), checkpoint=tmp_path / "c", **settings)
    history = made.fit()  # type: ignore[attr-defined]
    profile = made.clock.profile()  # type: ignore[attr-defined]
    assert all(profile[part] > 0 for part in PARTS if part not in ("features", "step"))
    assert profile["other"] >= 0
    assert made.clock.left() == 0  # type: ignore[attr-defined]
    assert history[0]["seconds_left"] > 0

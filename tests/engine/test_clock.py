"""The clock of a run: training and validation are timed apart."""

import pytest

from arcvit.engine import clock as module
from arcvit.engine.clock import Clock


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch):
    """``passes(seconds)``: time goes by."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_a_rare_validation_doesnt_change_the_pace_of_training(passes) -> None:
    clock = Clock({"train": 40, "evaluation": 2, "checkpoint": 0})
    for _ in range(20):
        passes(1.0)
        clock.lap("train")
    passes(100.0)
    clock.lap("evaluation")
    # 20 more batches and one validation, not 20 epochs of six seconds.
    assert clock.left() == pytest.approx(20 * 1.0 + 100.0)
    assert clock.seconds == {"train": 20.0, "evaluation": 100.0, "checkpoint": 0.0}


def test_validation_that_isnt_measured_yet_is_estimated_by_its_images(passes) -> None:
    clock = Clock({"train": 10, "evaluation": 1}, worth={"evaluation": 6})
    assert clock.left() == 0
    passes(2.0)
    clock.lap("train")
    assert clock.left() == pytest.approx(9 * 2.0 + 6 * 2.0)


def test_what_goes_before_a_start_is_no_work(passes) -> None:
    clock = Clock({"train": 2})
    passes(60.0)
    clock.start()
    passes(1.0)
    assert clock.lap("train") == pytest.approx(1.0)
    assert clock.left() == pytest.approx(1.0)


def test_a_resumed_run_goes_on_at_the_pace_it_had(passes) -> None:
    clock = Clock({"train": 10, "evaluation": 1})
    clock.add("train", 12.0, 4)
    assert clock.left() == pytest.approx(6 * 3.0)
    # More work than planned, as the test split after the last epoch, leaves nothing below zero.
    clock.add("evaluation", 5.0, 3)
    clock.add("train", 18.0, 6)
    assert clock.left() == 0

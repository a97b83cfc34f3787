from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from arcvit.engine.features import FeatureBank
from arcvit.engine.loop import Record
from arcvit.engine.profile import PARTS, Profile, describe

CPU = torch.device("cpu")


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("arcvit.engine.profile.time.perf_counter", clock)
    return clock


def test_parts_add_up(clock: Clock) -> None:
    profile = Profile(CPU, enabled=True)
    clock.now += 3
    profile.started()
    for part, seconds in (("forward", 4), ("backward", 8), ("forward", 1), ("optimizer", 5)):
        with profile(part):  # type: ignore[arg-type]
            clock.now += seconds
    clock.now += 2
    record = profile.record()
    assert record == {
        "startup": 3,
        "wall": 20,
        "data": 0,
        "forward": 5,
        "backward": 8,
        "optimizer": 5,
        "evaluation": 0,
        "other": 2,
        "learning": 0.9,
    }
    text = describe(record)
    assert text.startswith("20.0 s after 3.0 s of start-up:\n")
    assert "backward       8.00 s   40.0%" in text
    assert text.endswith("together 90.0%")


def test_waiting_for_items_is_data(clock: Clock) -> None:
    def slow() -> Iterator[int]:
        for item in range(3):
            clock.now += 2
            yield item
        clock.now += 1

    profile = Profile(CPU, enabled=True)
    seen = []
    for item in profile.waiting_for(slow()):
        clock.now += 10
        seen.append(item)
    assert seen == [0, 1, 2]
    assert profile.record()["data"] == 7
    assert profile.record()["other"] == 30


def test_an_error_is_counted_and_raised(clock: Clock) -> None:
    profile = Profile(CPU, enabled=True)
    with pytest.raises(KeyError), profile("forward"):
        clock.now += 4
        raise KeyError
    assert profile.record()["forward"] == 4


@pytest.mark.parametrize("enabled", [True, False])
def test_it_waits_for_cuda_only_while_profiling(
    monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    waits: list[object] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    profile = Profile(torch.device("cuda"), enabled=enabled)
    with profile("forward"):
        pass
    list(profile.waiting_for([1]))
    assert bool(waits) is enabled


def test_off_measures_nothing() -> None:
    profile = Profile.off()
    with profile("forward"):
        pass
    assert list(profile.waiting_for(range(3))) == [0, 1, 2]
    assert all(profile.record()[part] == 0 for part in PARTS)


def test_a_fit_fills_it(
    train: Callable[..., list[Record]],
    toy: Callable[..., nn.Module],
    features: Callable[..., FeatureBank],
) -> None:
    profile = Profile(CPU, enabled=True)
    profile.started()
    found = train(
        toy(),
        features(32),
        epochs=2,
        batch_size=8,
        val=features(8),
        profiler=profile,
    )
    record = profile.record()
    assert all(record[part] > 0 for part in PARTS)
    assert record["other"] >= 0
    # Profiling changes nothing that is learned.
    again = train(toy(), features(32), epochs=2, batch_size=8)
    assert [r["train_loss"] for r in found] == [r["train_loss"] for r in again]

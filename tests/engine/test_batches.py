from collections.abc import Callable

import pytest
import torch

from arcvit.engine import batches
from arcvit.engine.batches import loader, on_device, widest_that_fits
from arcvit.engine.config import EngineConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.features import FeatureBank


def fits(limit: int) -> tuple[Callable[[int], int], list[int]]:
    """A pass that is out of memory above a limit, and the sizes that were tried."""
    tried: list[int] = []

    def attempt(size: int) -> int:
        tried.append(size)
        if size > limit:
            raise torch.OutOfMemoryError
        return size

    return attempt, tried


@pytest.mark.parametrize(
    ("limit", "widest", "tried"),
    [(512, 512, [512]), (100, 512, [512, 256, 128, 64]), (1, 5, [5, 2, 1])],
)
def test_half_until_it_fits(limit: int, widest: int, tried: list[int]) -> None:
    attempt, seen = fits(limit)
    assert widest_that_fits(attempt, widest) == tried[-1]
    assert seen == tried


@pytest.mark.parametrize(("processes", "tried"), [(1, [4, 2, 1]), (2, [4])])
def test_nothing_fits(processes: int, tried: list[int]) -> None:
    attempt, seen = fits(0)
    with pytest.raises(torch.OutOfMemoryError):
        widest_that_fits(attempt, 4, processes=processes)
    assert seen == tried


def test_other_errors_are_not_tried_again() -> None:
    def broken(size: int) -> int:
        raise RuntimeError(f"broken at {size}")

    with pytest.raises(RuntimeError, match="broken at 8"):
        widest_that_fits(broken, 8)


@pytest.mark.parametrize(("kind", "expected"), [("cuda", True), ("cpu", False), ("mps", False)])
def test_pinned_and_without_waiting_on_cuda(
    features: Callable[..., FeatureBank],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    expected: bool,
) -> None:
    class There:
        device = torch.device(kind)

    pinned: list[bool] = []
    asked: list[dict[str, object]] = []

    def watch(*args: object, pin: bool, **kwargs: object) -> object:
        pinned.append(pin)
        return loader(*args, **kwargs)  # type: ignore[arg-type]

    def prepared(data: object, **kwargs: object) -> object:
        asked.append(kwargs)
        return data

    monkeypatch.setattr(batches, "loader", watch)
    monkeypatch.setattr(batches, "prepare_data_loader", prepared)
    on_device(features(4), 2, There())  # type: ignore[arg-type]
    assert pinned == [expected]
    assert asked == [
        {"device": There.device, "put_on_device": True, "non_blocking": expected},
    ]


def test_in_order(features: Callable[..., FeatureBank]) -> None:
    accelerator = make_accelerator(EngineConfig(precision="fp32", device="cpu", track=[]), 0)
    bank = features(7)
    found = list(on_device(bank, 3, accelerator))
    assert [len(labels) for _, labels in found] == [3, 3, 1]
    assert torch.equal(torch.cat([stored for stored, _ in found]), bank.features)

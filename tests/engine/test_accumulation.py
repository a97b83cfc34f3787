from collections.abc import Callable

import pytest
import torch

from arcvit.engine.accumulation import batch_shares, batch_sizes
from arcvit.engine.loop import Record

SIZES = [
    (10, 4, 3, 1, [4, 4, 2]),
    (8, 4, 2, 1, [4, 4]),
    (3, 4, 1, 1, [3]),
    # Two processes: accelerate fills the last batches up.
    (10, 4, 2, 2, [4, 4]),
]


@pytest.mark.parametrize(("images", "size", "batches", "processes", "expected"), SIZES)
def test_batch_sizes(
    images: int, size: int, batches: int, processes: int, expected: list[int]
) -> None:
    assert batch_sizes(images, size, batches=batches, processes=processes) == expected


SHARES = [
    ([4, 4, 4], 1, [1, 1, 1]),
    ([4, 4, 2], 1, [1, 1, 1]),
    ([4, 4], 2, [1 / 2, 1 / 2]),
    ([4, 4, 4], 2, [1 / 2, 1 / 2, 1]),
    ([4, 2], 2, [4 / 6, 2 / 6]),
    ([4, 4, 4, 3], 8, [4 / 15, 4 / 15, 4 / 15, 3 / 15]),
]


@pytest.mark.parametrize(("sizes", "accumulate", "shares"), SHARES)
def test_batch_shares(sizes: list[int], accumulate: int, shares: list[float]) -> None:
    assert batch_shares(sizes, accumulate) == pytest.approx(shares)


@pytest.mark.parametrize("images", [96, 90, 50, 33, 7])
@pytest.mark.parametrize(("size", "accumulate"), [(16, 2), (8, 4)])
def test_accumulation_is_a_larger_batch(
    train: Callable[..., list[Record]],
    toy: Callable[..., torch.nn.Module],
    features: Callable[..., object],
    images: int,
    size: int,
    accumulate: int,
) -> None:
    bank = features(images)
    whole, parts = toy(), toy()
    one = train(whole, bank, epochs=3, batch_size=32)
    other = train(parts, bank, epochs=3, batch_size=size, accumulate=accumulate)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    for a, b in zip(one, other, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
        assert a["lr"] == b["lr"]

from collections.abc import Callable

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler, SequentialSampler

from arcvit.core.errors import UserError
from arcvit.engine.accumulation import batch_shares, batch_sizes, own_rows, rows_per_process
from arcvit.engine.loop import Record

SIZES = [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 4, [3])]


@pytest.mark.parametrize(("images", "size", "expected"), SIZES)
def test_batch_sizes(images: int, size: int, expected: list[int]) -> None:
    assert batch_sizes(images, size) == expected


@pytest.mark.parametrize("images", [1, 5, 12, 13, 18, 31])
@pytest.mark.parametrize("processes", [1, 2, 3, 6])
def test_processes_share_the_batches_of_one(images: int, processes: int) -> None:
    size, accumulate = 12, 2
    whole = BatchSampler(SequentialSampler(range(images)), size, drop_last=False)
    sizes = batch_sizes(images, size)
    found: list[list[int]] = [[] for _ in sizes]
    weights: list[list[float]] = [[] for _ in sizes]
    for process in range(processes):
        rows = own_rows(sizes, rows_per_process(size, processes), process)
        shares = batch_shares(sizes, accumulate, rows=rows, processes=processes)
        loaded = BatchSamplerShard(
            BatchSampler(SequentialSampler(range(images)), size, drop_last=False),
            processes,
            process,
            split_batches=True,
        )
        for batch, (given, own, share) in enumerate(zip(loaded, rows, shares, strict=True)):
            assert given  # who has no image of its own takes part all the same
            found[batch] += given[:own]
            weights[batch] += [share / max(own, 1) / processes] * own
    assert found == list(whole)
    for start in range(0, len(sizes), accumulate):
        of_step = [w for batch in weights[start : start + accumulate] for w in batch]
        assert of_step == pytest.approx([1 / len(of_step)] * len(of_step))


@pytest.mark.parametrize(
    ("size", "processes", "expected"), [(32, 3, "30 or 33"), (7, 2, "6 or 8"), (2, 3, "as 3[.]")]
)
def test_a_batch_that_cant_be_shared(size: int, processes: int, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        rows_per_process(size, processes)


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

"""What the loop learns from: a dataset that hands out whole batches, and what prepares them."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

Prepare = Callable[[Tensor], Tensor]
"""Turns a batch as stored, on the device, into the model's input: (B, ...) to (B, ...)."""


class Batches(Protocol):
    """A dataset that gathers a batch at once: stored inputs (B, ...) and labels (B,)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]: ...

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]: ...


def as_it_is(batch: Any) -> Any:
    """The collate function of a dataset that already gives batches."""
    return batch


def loader(batches: Batches, batch_size: int, *, shuffle: bool, pin: bool = False) -> DataLoader:
    """A loader over batches in memory. Workers would only copy them.

    It draws from a generator of its own: to look at images (validation, features) must not change
    what training draws.
    """
    return DataLoader(
        batches,  # type: ignore[arg-type]
        batch_size=batch_size,
        shuffle=shuffle,
        collate_fn=as_it_is,
        pin_memory=pin,
        generator=torch.Generator(),
    )

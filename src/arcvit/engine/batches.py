"""What the loop learns from: a dataset that hands out whole batches, and what prepares them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from torch import Tensor
from torch.utils.data import DataLoader

Outcome = TypeVar("Outcome")

Prepare = Callable[[Tensor], Tensor]
"""Turns a batch as stored, on the device, into the model's input: (B, ...) to (B, ...)."""


class Batches(Protocol):
    """A dataset that gathers a batch at once: stored inputs (B, ...) and labels, (B,) or (B, K)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]: ...

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]: ...


def as_it_is(batch: Any) -> Any:
    """Collates what is a batch already, and prepares what is an input already."""
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


def on_device(batches: Batches, batch_size: int, accelerator: Accelerator) -> DataLoader:
    """A loader in order whose batches are on the device, each process with its share.

    Processes get equally many: the last ones may be filled up with images from the beginning.

    On CUDA a batch is copied from pinned memory while the host goes on.
    """
    cuda = accelerator.device.type == "cuda"
    # Not accelerator.prepare: it would keep each loader for the next checkpoint.
    return prepare_data_loader(
        loader(batches, batch_size, shuffle=False, pin=cuda),
        device=accelerator.device,
        put_on_device=True,
        non_blocking=cuda,
    )


def inputs(
    batches: Iterable[tuple[Tensor, Tensor]], prepare: Prepare, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """The model's inputs and their labels, batch by batch.

    On CUDA they are copied and prepared on a stream of its own, while the device computes the step
    before. The host waits only where it is further ahead than that, as batches would pile up.

    Args:
        batches: stored batches; put on the device as they are asked for.
        prepare: turns a stored batch on the device into the model's input.
        device: where they are.
    """
    if device.type != "cuda":
        yield from ((prepare(stored), labels) for stored, labels in batches)
        return
    beside = torch.cuda.Stream(device)
    beside.wait_stream(torch.cuda.current_stream(device))
    steps: deque[torch.cuda.Event] = deque()
    source = iter(batches)
    while True:
        if len(steps) > 1:
            steps.popleft().synchronize()
        with torch.cuda.stream(beside):
            batch = next(source, None)
            if batch is None:
                return
            pixels, labels = prepare(batch[0]), batch[1]
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(beside)
        for tensor in (pixels, labels):
            tensor.record_stream(computing)
        yield pixels, labels
        steps.append(computing.record_event())


def widest_that_fits(
    attempt: Callable[[int], Outcome], widest: int, *, processes: int = 1
) -> Outcome:
    """What an attempt gives, with half the batch whenever the device is out of memory.

    Args:
        attempt: a whole pass with batches of a size.
        widest: images of the first try.
        processes: with several the error is raised: the others would wait for this one forever.

    Raises:
        torch.OutOfMemoryError: not even single images fit.
    """
    while True:
        try:
            return attempt(widest)
        except torch.OutOfMemoryError:
            if widest == 1 or processes > 1:
                raise
        # Outside of the handler, where nothing holds on to the tensors of the attempt.
        torch.cuda.empty_cache()
        widest //= 2

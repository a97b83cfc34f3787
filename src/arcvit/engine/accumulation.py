"""Gradient accumulation that doesn't change the step: batches weigh by their images."""

from collections.abc import Sequence


def batch_sizes(images: int, batch_size: int, *, batches: int, processes: int = 1) -> list[int]:
    """Images in each batch of an epoch on one process.

    Over several processes accelerate fills the last batches up.
    """
    last = batch_size if processes > 1 else images - (batches - 1) * batch_size
    return [batch_size] * (batches - 1) + [last]


def batch_shares(sizes: Sequence[int], accumulate: int) -> list[float]:
    """Each batch's share of the images of its step: the factor of its mean loss.

    Divided by ``accumulate`` alone, a step would weigh its images unequally where its batches are
    fewer or smaller, as they often are at the end of an epoch.
    """
    shares: list[float] = []
    for start in range(0, len(sizes), accumulate):
        step = sizes[start : start + accumulate]
        shares += [size / sum(step) for size in step]
    return shares

"""Gradient accumulation that doesn't change the step: batches weigh by their images."""

from collections.abc import Sequence


def batch_sizes(images: int, batch_size: int, *, batches: int, processes: int = 1) -> list[int]:
    """Images in each batch of an epoch on one process.

    Over several processes accelerate fills the last batches up.
    """
    last = batch_size if processes > 1 else images - (batches - 1) * batch_size
    return [batch_size] * (batches - 1) + [last]


def batch_weights(sizes: Sequence[int], accumulate: int) -> list[float]:
    """Factors for the mean losses of an epoch's batches.

    accelerate divides each loss by ``accumulate``. That is the mean over the images of a step only
    where the step has that many batches of one size, which the last one of an epoch often hasn't.
    """
    weights: list[float] = []
    for start in range(0, len(sizes), accumulate):
        step = sizes[start : start + accumulate]
        weights += [accumulate * size / sum(step) for size in step]
    return weights

"""Steps of several batches, and batches of several processes: every image weighs the same."""

from collections.abc import Sequence

from arcvit.core.errors import UserError


def batch_sizes(images: int, batch_size: int) -> list[int]:
    """Images in each batch of an epoch, of all processes together."""
    full, rest = divmod(images, batch_size)
    return [batch_size] * full + [rest] * bool(rest)


def own_rows(sizes: Sequence[int], width: int, process: int) -> list[int]:
    """Images that one process has of each batch.

    Every process gets as many rows; accelerate fills up what is missing in the last batch with
    images from the beginning of the epoch, which don't count.

    Args:
        sizes: images in each batch, of all processes together.
        width: rows that a process gets of a batch.
        process: the number of the process; the first ``width`` images of a batch are process 0's.
    """
    return [min(max(size - process * width, 0), width) for size in sizes]


def batch_shares(
    sizes: Sequence[int], accumulate: int, *, rows: Sequence[int] | None = None, processes: int = 1
) -> list[float]:
    """The factor of each batch's mean loss on one process: its share of the images of its step.

    Divided by ``accumulate`` alone, a step would weigh its images unequally where its batches are
    fewer or smaller, as they often are at the end of an epoch. Data parallelism takes the mean of
    the processes' gradients, which would do the same where they have unequal parts of a batch.

    Args:
        sizes: images in each batch, of all processes together.
        accumulate: batches in a step.
        rows: images that this process has of each batch; None: all of them.
        processes: how many share each batch.
    """
    rows = sizes if rows is None else rows
    shares: list[float] = []
    for start in range(0, len(sizes), accumulate):
        step = slice(start, start + accumulate)
        shares += [processes * own / sum(sizes[step]) for own in rows[step]]
    return shares


def rows_per_process(batch_size: int, processes: int) -> int:
    """Images of a batch on each process.

    Raises:
        UserError: they can't have equally many.
    """
    if batch_size % processes:
        below = batch_size // processes * processes
        nearest = " or ".join(str(size) for size in (below, below + processes) if size)
        raise UserError(
            f"--engine.batch_size {batch_size} is shared by {processes} processes: expected a"
            f" multiple of {processes}, as {nearest}."
        )
    return batch_size // processes

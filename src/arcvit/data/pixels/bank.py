"""A split ready for training: decoded once, then gathered batch by batch.

Shapes: N images, B images of a batch, K classes, C = 3 channels, (H', W') =
``Preprocessing.stored`` pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from arcvit.core.errors import UserError
from arcvit.data.pixels.cache import cached_images, room_in
from arcvit.data.pixels.decode import UnreadableImages, decode_into
from arcvit.data.pixels.preset import Preprocessing
from arcvit.data.task import Split

Batch = tuple[Tensor, Tensor]
"""Images ``uint8`` (B, 3, H', W') and labels, ``int64`` (B,) or ``float32`` (B, K)."""


class ImageBank(Dataset[tuple[Tensor, Tensor]]):
    """Decoded images with their labels.

    There are no rows for files that were skipped, so a class may be without images.

    Raises:
        ValueError: images, labels and paths differ in number.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        paths: tuple[Path, ...],
        skipped: tuple[tuple[Path, str], ...] = (),
    ) -> None:
        if not len(images) == len(labels) == len(paths):
            raise ValueError(f"{len(images)} images, {len(labels)} labels, {len(paths)} paths")
        self.images = images
        """``uint8`` (N, 3, H', W'), in memory or mapped from a file."""
        self.labels = labels
        """``int64`` (N,); of a multilabel split rows of 0 and 1, ``float32`` (N, K)."""
        self.paths = paths
        """File of each image."""
        self.skipped = skipped
        """Files that could not be read, each with the reason."""

    @classmethod
    def build(
        cls,
        split: Split,
        prep: Preprocessing,
        *,
        classes: int | None = None,
        on_bad: Literal["error", "skip"] = "error",
        memory_limit: int = 2 * 2**30,
        cache_dir: Path | None = None,
        shared: bool = False,
        workers: int | None = None,
    ) -> "ImageBank":
        """Decode a split.

        Args:
            split: images and labels.
            prep: how to resize and crop.
            classes: number of classes, K; a multilabel split needs it.
            on_bad: ``error`` refuses a split with unreadable files, ``skip`` leaves them out.
            memory_limit: bytes; more than that is kept in a file under ``cache_dir`` and mapped.
            cache_dir: folder for such files, which are used again as long as the images and the
                preprocessing stay as they are.
            shared: other processes of this machine want the same images: what would fit in the
                memory of each is mapped too, one copy for all, where that leaves half of the disk's
                room.
            workers: number of threads; None takes one for each processor core.

        Raises:
            UnreadableImages: files that can't be decoded, with ``error``; all of them can't.
            UserError: the split is above the limit and there is no cache folder, or no room in it.
        """

        def decode(images: Tensor) -> dict[int, str]:
            bad = decode_into(images, split.paths, prep, workers=workers)
            refuse(bad)
            # In place, as the tensor may be a file that memory can't hold.
            good = [row for row in range(len(split)) if row not in bad]
            for row, source in enumerate(good):
                if row != source:
                    images[row] = images[source]
            return bad

        def refuse(bad: dict[int, str]) -> None:
            if bad and (on_bad == "error" or len(bad) == len(split)):
                told = [(split.paths[row], why) for row, why in bad.items()]
                raise UnreadableImages(told, skipped=on_bad == "skip")

        height, width = prep.stored
        needed = len(split) * 3 * height * width
        maps = shared and cache_dir is not None and 2 * needed <= room_in(cache_dir)
        if needed <= memory_limit and not maps:
            images = torch.empty((len(split), 3, height, width), dtype=torch.uint8)
            bad = decode(images)
        elif cache_dir is None:
            raise UserError(
                f"{len(split)} images of {height}x{width} pixels need {needed / 2**30:.1f} GiB,"
                f" above the limit of {memory_limit / 2**30:.1f} GiB: give a cache folder or raise"
                " the limit."
            )
        else:
            images, bad = cached_images(cache_dir, split.paths, prep, decode)
            refuse(bad)
        good = [row for row in range(len(split)) if row not in bad]
        return cls(
            images=images[: len(good)],
            labels=_labels(split.rows(good), classes),
            paths=tuple(split.paths[row] for row in good),
            skipped=tuple((split.paths[row], why) for row, why in bad.items()),
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One image (3, H', W') and its label ()."""
        return self.images[index], self.labels[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The images and labels of a batch, gathered at once."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        return self.images[rows], self.labels[rows]


def _labels(split: Split, classes: int | None) -> Tensor:
    """The labels of a split as the loss takes them, (N,) or (N, K)."""
    if split.kind == "single":
        return torch.tensor(split.labels, dtype=torch.int64)
    if classes is None:
        raise ValueError("a multilabel split needs the number of classes")
    labels = torch.zeros(len(split), classes)
    for row, own in enumerate(split.label_sets):
        labels[row, list(own)] = 1
    return labels

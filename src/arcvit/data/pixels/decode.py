"""From image files to pixels of one size.

Shapes: N images, C = 3 channels, H = height and W = width in pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from arcvit.core.errors import UserError
from arcvit.data.findings import examples
from arcvit.data.pixels.preset import Preprocessing, center_start
from arcvit.data.pixels.rgb import in_threads, why_unreadable

RESAMPLE = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


class UnreadableImages(UserError):
    """Images that can't be decoded: all of them, not the first one met.

    Args:
        bad: each unreadable file with the reason.
        skipped: whether such files are left out, and none is left.
    """

    def __init__(self, bad: Sequence[tuple[Path, str]], skipped: bool = False) -> None:
        self.bad = tuple(bad)
        """Each unreadable file with the reason."""
        self.paths = tuple(path for path, _ in bad)
        """The unreadable files."""
        named = examples([f"{path} ({reason})" for path, reason in bad], most=20)
        self.skipped = skipped
        """Whether files that can't be read were to be left out."""
        told = f"{len(bad)} image(s) can't be read, replace or remove them or choose to skip them"
        if skipped:
            told = f"none of {len(bad)} image(s) can be read, give others"
        super().__init__(f"{told}: {named}.")

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are pickled by their message unless told otherwise.
        return type(self), (self.bad, self.skipped)


def to_array(image: Image.Image, prep: Preprocessing) -> Tensor:
    """Resize and crop an RGB image to the size that is kept, ``uint8`` (3, *prep.stored).

    Raises:
        ValueError: it would have more pixels on the way than allowed.
    """
    width, height = image.size
    target_height, target_width = prep.resized
    if prep.resize == "shortest":
        target_height, target_width = _covering(height, width, prep.resized)
    if target_height * target_width > prep.max_pixels:
        raise ValueError(
            f"{width:,} x {height:,} pixels become {target_width:,} x {target_height:,}, more than"
            f" --data.max_pixels, {prep.max_pixels:,}"
        )
    resized = image.resize((target_width, target_height), RESAMPLE[prep.interpolation])
    crop_height, crop_width = prep.stored
    top = center_start(target_height, crop_height, prep.crop_start)
    left = center_start(target_width, crop_width, prep.crop_start)
    # Pillow fills what lies outside the image with black.
    cropped = resized.crop((left, top, left + crop_width, top + crop_height))
    return torch.from_numpy(np.array(cropped)).permute(2, 0, 1).contiguous()


def decode_into(
    images: Tensor, paths: Sequence[Path], prep: Preprocessing, *, workers: int | None = None
) -> dict[int, str]:
    """Decode images into the rows of a tensor, ``uint8`` (N, 3, *prep.stored).

    Args:
        images: filled row by row.
        paths: image files.
        prep: how to resize and crop.
        workers: number of threads; None takes one for each processor core.

    Returns:
        For each row that can't be decoded, in order, the reason. Those rows are left as they are.
    """

    def decode(row: int) -> str | None:
        def keep(image: Image.Image) -> None:
            images[row] = to_array(image, prep)

        return why_unreadable(paths[row], keep, prep.decoding)

    reasons = enumerate(in_threads(decode, range(len(paths)), workers))
    return {row: reason for row, reason in reasons if reason is not None}


def blank_rows(images: Tensor) -> list[int]:
    """The images (N, 3, H, W) on which there is nothing to see: each channel has one value."""
    channels = images.flatten(2)
    return (channels.amin(-1) == channels.amax(-1)).all(-1).nonzero().flatten().tolist()


def _covering(height: int, width: int, box: tuple[int, int]) -> tuple[int, int]:
    """Size with the proportions of an image that just covers a box.

    For a square box this is ``torchvision.transforms.Resize(edge)``, otherwise timm's
    ``ResizeKeepRatio``. The two round in their own ways.
    """
    if box[0] == box[1]:
        long = int(box[0] * max(height, width) / min(height, width))
        return (box[0], long) if height <= width else (long, box[0])
    ratio = min(height / box[0], width / box[1])
    return round(height / ratio), round(width / ratio)

"""From image files to pixels of one size.

Shapes: N images, C = 3 channels, H = height and W = width in pixels.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from arcvit.core.errors import UserError
from arcvit.data.checks import list_some
from arcvit.data.preset import Preprocessing, center_start

RESAMPLE = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}

Progress = Callable[[int], None]
"""Told, in the calling thread, how many images are done so far."""


class UnreadableImages(UserError):
    """Images that can't be decoded: all of them, not the first one met."""

    def __init__(self, bad: Sequence[tuple[Path, str]]) -> None:
        self.bad = tuple(bad)
        """Each unreadable file with the reason."""
        self.paths = tuple(path for path, _ in bad)
        """The unreadable files."""
        named = list_some([f"{path} ({reason})" for path, reason in bad])
        super().__init__(
            f"{len(bad)} image(s) can't be read, replace or remove them or choose to skip them:"
            f" {named}."
        )

    def __reduce__(self) -> tuple[type["UnreadableImages"], tuple[tuple[tuple[Path, str], ...]]]:
        # Exceptions are pickled by their message unless told otherwise.
        return type(self), (self.bad,)


def read_rgb(path: str | Path) -> Image.Image:
    """Decode an image file to RGB, completely.

    Follows ``Image.open(path).convert("RGB")``, as torchvision and timm do: transparency is dropped
    and not blended, of an animation the first frame counts, and the EXIF orientation is *not*
    applied. One deviation: grey images of 16 bits are scaled to 8 bits, where Pillow would turn
    every value above 255 white.

    Raises:
        OSError: the file is missing, truncated or not an image. Pillow raises others too, such as
            ``SyntaxError`` for a broken PNG.
        ValueError: pixels of 32 bits, whose range isn't known.
    """
    with Image.open(path) as image:
        image.load()
        # Pillow warns about some kinds of transparency on the way to RGB, where it has no effect.
        image.info.pop("transparency", None)
        # Pillow opens a PGM of 16 bits as 32 bits with the values of 16.
        if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
            values = np.asarray(image).astype(np.float32)
            image_8bit = Image.fromarray(np.rint(values * (255 / 65535)).astype(np.uint8))
            return image_8bit.convert("RGB")
        if image.mode in ("I", "F"):
            raise ValueError("pixels of 32 bits, save it with 8 or 16")
        return image.convert("RGB")


def to_array(image: Image.Image, prep: Preprocessing) -> Tensor:
    """Resize and crop an RGB image to the size that is kept, ``uint8`` (3, *prep.stored)."""
    width, height = image.size
    target_height, target_width = prep.resized
    if prep.resize == "shortest":
        target_height, target_width = _covering(height, width, prep.resized)
    resized = image.resize((target_width, target_height), RESAMPLE[prep.interpolation])
    crop_height, crop_width = prep.stored
    top, left = center_start(target_height, crop_height), center_start(target_width, crop_width)
    # Pillow fills what lies outside the image with black.
    cropped = resized.crop((left, top, left + crop_width, top + crop_height))
    return torch.from_numpy(np.array(cropped)).permute(2, 0, 1).contiguous()


def decode_all(
    paths: Sequence[Path],
    prep: Preprocessing,
    *,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> Tensor:
    """Decode images in a pool of threads: Pillow works outside Python's global lock.

    Args:
        paths: image files.
        prep: how to resize and crop.
        workers: number of threads; None takes one for each processor core.
        on_progress: told how many images are done.

    Returns:
        Images in the order of ``paths``, ``uint8`` (N, 3, *prep.stored).

    Raises:
        UnreadableImages: lists every file that can't be decoded.
    """
    images = torch.empty((len(paths), 3, *prep.stored), dtype=torch.uint8)
    bad = decode_into(images, paths, prep, workers=workers, on_progress=on_progress)
    if bad:
        raise UnreadableImages([(paths[row], reason) for row, reason in bad.items()])
    return images


def decode_into(
    images: Tensor,
    paths: Sequence[Path],
    prep: Preprocessing,
    *,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> dict[int, str]:
    """Decode images into the rows of a tensor, ``uint8`` (N, 3, *prep.stored).

    Returns:
        For each row that can't be decoded, in order, the reason. Those rows are left as they are.
    """

    def decode(row: int) -> str | None:
        try:
            images[row] = to_array(read_rgb(paths[row]), prep)
        except MemoryError:
            raise
        # A broken file can make Pillow's many decoders raise nearly anything.
        except Exception as error:
            return _reason(paths[row], error)
        return None

    bad: dict[int, str] = {}
    with ThreadPoolExecutor(workers or _cores()) as pool:
        for row, reason in enumerate(pool.map(decode, range(len(paths)))):
            if reason is not None:
                bad[row] = reason
            if on_progress is not None:
                on_progress(row + 1)
    return bad


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


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow knows" if path.stat().st_size else "empty file"
    return str(error) or type(error).__name__


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

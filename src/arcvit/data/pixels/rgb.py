"""Decode one image file to RGB, or say why it can't be. No torch: the command line uses this."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError


def read_rgb(path: str | Path | BinaryIO) -> Image.Image:
    """Decode an image file, or an open one, to RGB, completely.

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


def why_unreadable(path: Path, use: Callable[[Image.Image], None]) -> str | None:
    """Decode a file and use the image; the reason where that isn't possible, else None."""
    try:
        use(read_rgb(path))
    except MemoryError:
        raise
    # A broken file can make Pillow's many decoders raise nearly anything.
    except Exception as error:
        return _reason(path, error)
    return None


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow knows" if path.stat().st_size else "empty file"
    return str(error) or type(error).__name__

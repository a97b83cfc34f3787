"""Look into image files: whether they can be read, what they are, and what their pixels are."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from arcvit.data.pixels.preset import Decoding
from arcvit.data.pixels.rgb import (
    grey_of_16_bits,
    in_threads,
    opened,
    orientation,
    reason_of_failure,
    to_rgb,
)

THUMB = 16
"""Edge of the grey thumbnail that near-duplicates are told by, in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """What is known of one image file."""

    path: Path
    """The file."""
    problem: str | None
    """Why it can't be read; then the other fields are empty."""
    format: str = ""
    """The file's format as Pillow calls it, whatever its name ends in: ``PNG``, ``JPEG``."""
    size: tuple[int, int] = (0, 0)
    """Height and width in pixels."""
    pixels: bytes = b""
    """Hash of the size and the pixels in RGB: the same for a copy in another lossless format."""
    thumb: bytes = b""
    """``THUMB`` x ``THUMB`` grey values."""
    blank: str = ""
    """Why there is nothing to see: ``all black``, ``of one colour``, ``all in the transparency``;
    empty where there is something."""
    turned: bool = False
    """Whether EXIF says that the stored pixels aren't upright."""
    peak: int | None = None
    """Largest value of a grey image of 16 bits."""
    deep_colour: bool = False
    """Whether it is a colour image of 16 bits, of which the high 8 are read."""


def examine(
    paths: Sequence[Path],
    how: Decoding | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> dict[Path, ImageFacts]:
    """Decode each file once, in a pool of threads.

    Args:
        paths: image files; one that is listed twice is read once.
        how: how they become RGB.
        on_progress: told, in the calling thread, how many files are done.
    """
    different = list(dict.fromkeys(paths))
    facts = {}
    found = in_threads(lambda path: _examine(path, how or Decoding()), different)
    for done, fact in enumerate(found, start=1):
        facts[fact.path] = fact
        if on_progress is not None:
            on_progress(done)
    return facts


def _examine(path: Path, how: Decoding) -> ImageFacts:
    facts: list[ImageFacts] = []

    def look() -> None:
        with opened(path, how) as image:
            deep = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
            size, kind = (image.height, image.width), image.format or "?"
            rgb = to_rgb(image, how)
            grey = grey_of_16_bits(image)
            # What a grey value means depends on the whole task; equal values are equal images.
            raw = rgb.tobytes() if grey is None else grey.astype("<u2").tobytes()
            facts.append(
                ImageFacts(
                    path=path,
                    problem=None,
                    format=kind,
                    size=size,
                    pixels=hashlib.sha256(b"%d %d " % rgb.size + raw).digest(),
                    thumb=_thumb(rgb, grey),
                    blank=_blank(image, rgb, grey),
                    turned=orientation(image) != 1,
                    peak=None if grey is None else int(grey.max()),
                    deep_colour=deep and grey is None,
                )
            )

    problem = reason_of_failure(path, look)
    return facts[0] if problem is None else ImageFacts(path=path, problem=problem)


def _thumb(rgb: Image.Image, grey: np.ndarray | None) -> bytes:
    shown = rgb.convert("L")
    if grey is not None:
        shown = Image.fromarray((grey * (255 / max(int(grey.max()), 1))).astype(np.uint8))
    small = shown.resize((THUMB, THUMB), Image.Resampling.BOX)
    # Pillow's own tobytes shrinks a block of 64 KB, which then keeps those around it from merging:
    # 12 KB an image.
    return np.asarray(small).tobytes()


def _blank(image: Image.Image, rgb: Image.Image, grey: np.ndarray | None) -> str:
    bands = rgb.getextrema() if grey is None else [(int(grey.min()), int(grey.max()))]
    if any(low != high for low, high in bands):  # type: ignore[misc]
        return ""
    alpha = image.getchannel("A").getextrema() if "A" in image.getbands() else (0, 0)
    if alpha[0] != alpha[1]:
        return "all in the transparency"
    return "of one colour" if any(high for _, high in bands) else "all black"  # type: ignore[misc]

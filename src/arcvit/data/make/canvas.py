"""What made pictures share: their side, soft noise, and colours that differ.

Shapes: H = W = 64 pixels; images are float arrays (H, W) or (H, W, 3) in [0, 255].
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

Draws = np.random.RandomState
"""Random numbers of one image: RandomState's streams are frozen for good."""

SIDE = 64
"""Height and width of an image in pixels."""
_FINER = 4
"""Drawn so much larger, then made smaller, so that outlines are smooth."""


def noise(draws: Draws, cells: int) -> np.ndarray:
    """Soft noise in [0, 1], (H, W): random values on a grid of cells, bicubic between them."""
    values = Image.fromarray((255 * draws.rand(cells, cells)).astype(np.uint8))
    return np.asarray(values.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 255


def backdrop(draws: Draws, *, cells_from: int = 2) -> np.ndarray:
    """A soft, coloured background of medium brightness, (H, W, 3); more cells make it busier."""
    cells = int(draws.randint(cells_from, 9))
    return np.stack([90 + 70 * noise(draws, cells) for _ in range(3)], axis=-1)


def colour(draws: Draws) -> tuple[int, int, int]:
    """A colour that stands out from a backdrop: each channel dark or bright."""
    dark, bright = draws.randint(0, 60, 3), draws.randint(190, 256, 3)
    red, green, blue = np.where(draws.rand(3) < 0.5, dark, bright).tolist()
    return red, green, blue


def painted(ground: np.ndarray, paint: Callable[[ImageDraw.ImageDraw, int], None]) -> Image.Image:
    """A background with what is painted on it.

    Args:
        ground: (H, W, 3).
        paint: draws, given what to draw with and how many of its pixels make one of the image.
    """
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    side = SIDE * _FINER
    large = image.resize((side, side), Image.Resampling.BICUBIC)
    paint(ImageDraw.Draw(large), _FINER)
    return large.resize((SIDE, SIDE), Image.Resampling.BOX)

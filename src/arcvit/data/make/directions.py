"""Which way it points: a shape with a narrow and a wide end, turned to one of twelve directions.

Every image has a shape of its own, as wide, long and uneven as chance has it.
"""

import numpy as np
from PIL import Image, ImageDraw

from arcvit.data.make.canvas import SIDE, Draws, backdrop, colour, painted

CLASSES = tuple(f"{degrees} degrees" for degrees in range(0, 360, 30))
"""Direction of the narrow end, counter-clockwise from the right."""
_JITTER = 8.0
"""Degrees by which a shape may be turned off its direction."""


def draw(label: int, draws: Draws, split: str) -> Image.Image:
    """An image of a shape whose narrow end points in the direction of the label."""
    del split
    angle = np.deg2rad(30 * label + draws.uniform(-_JITTER, _JITTER))
    outline = _outline(draws)
    along = np.array([np.cos(angle), -np.sin(angle)])  # y runs downwards in images
    across = np.array([np.sin(angle), np.cos(angle)])
    centre = SIDE / 2 + draws.uniform(-5, 5, 2)
    points = centre + outline[:, :1] * along + outline[:, 1:] * across

    def paint(pen: ImageDraw.ImageDraw, finer: int) -> None:
        pen.polygon([tuple(finer * point) for point in points], fill=colour(draws))

    return painted(backdrop(draws), paint)


def _outline(draws: Draws) -> np.ndarray:
    """Corners of a shape that points along its first axis, around the middle of its length."""
    length, half = draws.uniform(30, 48), draws.uniform(7, 14)
    stations = int(draws.randint(4, 8))
    back = np.linspace(0, 1, stations)  # from the narrow end to the wide one
    widths = half * back ** draws.uniform(0.5, 1.8) * draws.uniform(0.7, 1.15, stations)
    ahead = length * (0.5 - back)
    side = np.stack([ahead, widths], axis=-1)
    return np.concatenate([side, (side * [1, -1])[::-1]])

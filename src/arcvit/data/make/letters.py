"""Letters in fonts that are told apart by their splits: tested are families never learned from.

The fonts are those that matplotlib brings: DejaVu, STIX and Computer Modern.
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from arcvit.data.make.canvas import SIDE, Draws, backdrop, colour, painted

CLASSES = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
FONTS = {
    "train": (
        *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
        *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
        "cmss10",
    ),
    "val": ("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "cmtt10"),
    "test": (
        *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
        *("cmr10", "cmb10", "cmti10"),
    ),
}
"""Fonts by split; no family is in two."""
_TILT = 20.0
"""Degrees by which a letter may be turned."""


def draw(label: int, draws: Draws, split: str) -> Image.Image:
    """An image of a letter in a font of the split, anywhere and a little turned."""
    name = FONTS[split][int(draws.randint(len(FONTS[split])))]
    size = int(draws.randint(26, 46))
    place = draws.uniform(-0.5, 0.5, 2) * (SIDE - 0.8 * size)
    ground, fill, tilt = backdrop(draws), colour(draws), draws.uniform(-_TILT, _TILT)

    def paint(pen: ImageDraw.ImageDraw, finer: int) -> None:
        middle = tuple(finer * (SIDE / 2 + place))
        pen.text(middle, CLASSES[label], fill="white", font=_font(name, finer * size), anchor="mm")

    black = np.zeros((SIDE, SIDE, 3))
    mask = painted(black, paint).convert("L")
    mask = mask.rotate(tilt, resample=Image.Resampling.BICUBIC, center=tuple(SIDE / 2 + place))
    image = Image.fromarray(ground.astype(np.uint8))
    image.paste(fill, mask=mask)
    return image


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", size)

"""Which shapes are on a picture: each of eight is there or not, so that a picture has any number.

The frequencies differ, stars come with rings, and some pictures are empty: a multilabel task.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

from arcvit.data.make.canvas import Draws, backdrop, colour, painted
from arcvit.data.make.counts import places
from arcvit.data.make.pictures import split_sizes
from arcvit.data.make.table_write import write_table
from arcvit.data.task import JOINT

NAME = "shapes"

FREQUENCIES = {
    "bar": 0.1,
    "cross": 0.25,
    "disc": 0.45,
    "frame": 0.06,
    "ring": 0.2,
    "square": 0.35,
    "star": 0.08,
    "triangle": 0.3,
}
"""How often each class is on a picture."""
STAR_WITH_RING = 0.5
"""How often a star is where a ring is."""
CLASSES = tuple(FREQUENCIES)
_MOST = 6
"""Shapes on a picture at most; one more of a class now and then, as there may be many."""
_AGAIN = 0.25
_SIZES = (6, 10)
_TILT = 25.0
"""Degrees by which a shape may be turned."""


def draw(draws: Draws) -> tuple[Image.Image, tuple[int, ...]]:
    """A picture, and the classes that are on it."""
    chance = dict(FREQUENCIES)
    if draws.rand() < chance["ring"]:
        chance |= {"ring": 1.0, "star": STAR_WITH_RING}
    else:
        chance["ring"] = 0.0
    labels = [c for c, name in enumerate(CLASSES) if draws.rand() < chance[name]][:_MOST]
    again = [label for label in labels if draws.rand() < _AGAIN]
    things = (labels + again)[:_MOST]
    where = places(len(things), draws, sizes=_SIZES)

    def paint(pen: ImageDraw.ImageDraw, finer: int) -> None:
        for label, (x, y, size) in zip(things, where, strict=True):
            _paint(pen, CLASSES[label], finer * x, finer * y, finer * size, draws)

    # Two empty pictures with hardly any pattern would look the same.
    return painted(backdrop(draws, cells_from=4), paint), tuple(labels)


def make_shapes(
    out: Path, *, test_size: int, seed: int, label_columns: bool = False
) -> dict[str, int]:
    """Write the task below a folder, as a table.

    A picture depends on the seed, its split and its number alone.

    Args:
        out: the folder.
        test_size: pictures in the test split.
        seed: another seed makes other pictures.
        label_columns: write a column of 0 and 1 for each class, not names in one column.

    Returns:
        The number of pictures of each split.

    Raises:
        UserError: the task is there already, or an impossible test size or seed.
    """
    sizes = split_sizes(test_size, seed)
    splits = {
        split: _drawn(count, seed=seed, place=place)
        for place, (split, count) in enumerate(sizes.items())
    }
    readme = _README.format(
        test_size=test_size,
        seed=seed,
        flag=" --label_columns" if label_columns else "",
        labels="a column of 0 and 1 for each class" if label_columns else _JOINT,
    )
    return write_table(
        out / NAME, splits, classes=CLASSES, readme=readme, label_columns=label_columns
    )


def _drawn(count: int, *, seed: int, place: int) -> Iterator[tuple[Image.Image, tuple[int, ...]]]:
    for index in range(count):
        yield draw(Draws([seed, place, index]))


def _paint(
    pen: ImageDraw.ImageDraw, name: str, x: float, y: float, size: float, draws: Draws
) -> None:
    fill, tilt = colour(draws), math.radians(draws.uniform(-_TILT, _TILT))
    box = (x - size, y - size, x + size, y + size)
    if name == "disc":
        pen.ellipse(box, fill=fill)
    elif name == "ring":
        pen.ellipse(box, outline=fill, width=round(0.35 * size))
    else:
        corners = [_turned(right, down, tilt) for right, down in _OUTLINES[name]]
        outline = [(x + size * right, y + size * down) for right, down in corners]
        if name == "frame":
            pen.line([*outline, *outline[:2]], fill=fill, width=round(0.3 * size), joint="curve")
        else:
            pen.polygon(outline, fill=fill)


def _turned(right: float, down: float, angle: float) -> tuple[float, float]:
    cosine, sine = math.cos(angle), math.sin(angle)
    return cosine * right - sine * down, sine * right + cosine * down


def _corners(count: int, *radii: float) -> list[tuple[float, float]]:
    """Corners around a centre, the first one above it, at radii that take turns."""
    turns = [2 * math.pi * corner / count for corner in range(count)]
    return [
        (radii[i % len(radii)] * math.sin(turn), -radii[i % len(radii)] * math.cos(turn))
        for i, turn in enumerate(turns)
    ]


_SQUARE: list[tuple[float, float]] = [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "bar": [(-0.28, -1), (0.28, -1), (0.28, 1), (-0.28, 1)],
    "cross": [
        *((-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3)),
        *((0.3, 1), (-0.3, 1), (-0.3, 0.3), (-1, 0.3), (-1, -0.3), (-0.3, -0.3)),
    ],
    "frame": _SQUARE,
    "square": _SQUARE,
    "star": _corners(10, 1.1, 0.45),
    "triangle": _corners(3, 1.1),
}
"""Corners (right, down) of a shape of half size 1."""

_JOINT = f"the names of its shapes in one column, with `{JOINT}` between them"
_README = """\
# shapes

Generated by `arcvit data make shapes --test_size {test_size} --seed {seed}{flag}`: which shapes are
on a picture, any number of eight. To be read with `--task multilabel`.

64 x 64 pixels. `shapes.csv` has a line for each picture: its path, {labels}, and its split.
"""

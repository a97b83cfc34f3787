"""How many things there are: one to eight discs, squares and triangles on a soft background."""

from PIL import Image, ImageDraw

from arcvit.data.make.canvas import SIDE, Draws, backdrop, colour, painted

CLASSES = tuple(f"{count} things" if count > 1 else "1 thing" for count in range(1, 9))
_GAP = 2
"""Pixels between two things at least."""


def draw(label: int, draws: Draws, split: str) -> Image.Image:
    """An image of ``label + 1`` things of different kinds, sizes and colours, none on another."""
    del split
    where = places(label + 1, draws)

    def paint(pen: ImageDraw.ImageDraw, finer: int) -> None:
        for x, y, size in where:
            left, top, right, bottom = (finer * v for v in (x - size, y - size, x + size, y + size))
            fill, kind = colour(draws), draws.randint(3)
            if kind == 0:
                pen.ellipse((left, top, right, bottom), fill=fill)
            elif kind == 1:
                pen.rectangle((left, top, right, bottom), fill=fill)
            else:
                pen.polygon([((left + right) / 2, top), (left, bottom), (right, bottom)], fill=fill)

    return painted(backdrop(draws), paint)


def places(
    count: int, draws: Draws, *, sizes: tuple[int, int] = (4, 9)
) -> list[tuple[int, int, int]]:
    """Centres and half sides in pixels, the latter below ``sizes[1]``; none is on another."""
    found: list[tuple[int, int, int]] = []
    misses = 0
    while len(found) < count:
        size = int(draws.randint(*sizes))
        x, y = draws.randint(size + 1, SIDE - size - 1, 2).tolist()
        # Squares reach further than their half side: a diagonal is kept apart too.
        if all((x - a) ** 2 + (y - b) ** 2 > 2 * (size + s + _GAP) ** 2 for a, b, s in found):
            found.append((x, y, size))
            continue
        misses += 1
        if misses % 200 == 0:  # there may be no more room
            found.clear()
    return found

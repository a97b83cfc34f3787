"""Sprites on the latent grid of dSprites, drawn here: two structured tasks without a download.

dSprites (deepmind/dsprites-dataset) is procedural: 3 shapes x 6 scales x 40 orientations x 32 x 32
positions, binary images of 64 x 64 pixels. The grid and VTAB's label rules are followed; the
drawing is our own, so the images are like those of dSprites but not the same ones.

Shapes: H = W = 64 pixels.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from arcvit.core.errors import UserError
from arcvit.data.make.vtab_rules import grouped_label
from arcvit.data.make.vtab_write import write_vtab

SIDE = 64
"""Height and width of an image in pixels."""
SHAPES = ("square", "ellipse", "heart")
SCALES = tuple(np.linspace(0.5, 1, 6).tolist())
# Both ends, as in dSprites: the first and the last orientation look the same.
ORIENTATIONS = tuple(np.linspace(0, 2 * np.pi, 40).tolist())
POSITIONS = 32
GRID = (len(SHAPES), len(SCALES), len(ORIENTATIONS), POSITIONS, POSITIONS)
"""Number of values of shape, scale, orientation, x and y; the last one varies fastest."""
SIZE = int(np.prod(GRID))
"""Images on the grid: 737,280."""
CLASSES = 16
SPLIT_SIZES = {"train": 800, "val": 200}

_MARGIN = 16
"""Whole pixels between the edge and the first position: no sprite of any angle leaves the image."""
_HALF = 11.0
"""Half the side of the largest square, in pixels; its diagonal stays inside the margin."""


@dataclass(frozen=True, kw_only=True)
class Latents:
    """A place on the grid: the index of each factor's value."""

    shape: int
    """0 square, 1 ellipse, 2 heart."""
    scale: int
    """0 to 5: half size to full size."""
    orientation: int
    """0 to 39: a full turn."""
    x: int
    """0 to 31, from the left."""
    y: int
    """0 to 31, from the top."""

    @classmethod
    def at(cls, index: int) -> "Latents":
        """The place with that number, from 0 to 737,279."""
        shape, scale, orientation, x, y = (int(i) for i in np.unravel_index(index, GRID))
        return cls(shape=shape, scale=scale, orientation=orientation, x=x, y=y)

    @property
    def location_label(self) -> int:
        """The label of ``sprites_loc``: two neighbouring x positions are a class."""
        return grouped_label(self.x, values=POSITIONS, classes=CLASSES)

    @property
    def orientation_label(self) -> int:
        """The label of ``sprites_ori``: two or three neighbouring orientations are a class."""
        return grouped_label(self.orientation, values=len(ORIENTATIONS), classes=CLASSES)


def draw(latents: Latents) -> np.ndarray:
    """The image of a place on the grid, ``bool`` (H, W): a pixel is in the sprite or not."""
    image = np.zeros((SIDE, SIDE), dtype=bool)
    sprite = _sprite(latents.shape, latents.scale, latents.orientation)
    # Neighbouring positions are one pixel apart, so a sprite is the same pixels wherever it is.
    image[latents.y : latents.y + len(sprite), latents.x : latents.x + len(sprite)] = sprite
    return image


@cache
def _sprite(shape: int, scale: int, orientation: int) -> np.ndarray:
    """A sprite around the middle of its canvas, ``bool`` (33, 33)."""
    offsets = np.arange(-_MARGIN, _MARGIN + 1) / (_HALF * SCALES[scale])
    angle = ORIENTATIONS[orientation]
    # Rotates by the angle; y runs downwards in images.
    right, up = offsets[None, :], -offsets[:, None]
    u = np.cos(angle) * right + np.sin(angle) * up
    v = -np.sin(angle) * right + np.cos(angle) * up
    inside = {"square": _square, "ellipse": _ellipse, "heart": _heart}[SHAPES[shape]]
    # A hair's breadth, so that rounding does not decide which side a pixel on the outline is on.
    return np.asarray(inside(u, v) <= 1e-9)


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) - 1


def _ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (u / 1.36) ** 2 + (v / 0.75) ** 2 - 1


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The sextic (x² + y² - 1)³ = x²y³, upright."""
    return (u**2 + v**2 - 1) ** 3 - u**2 * v**3


def draw_split_places(*, test_size: int, seed: int) -> dict[str, list[Latents]]:
    """Draw the splits from the grid: no two images of all splits have the same pixels.

    Args:
        test_size: images in the test split.
        seed: another seed makes other splits; train and val don't depend on the test's size.

    Raises:
        UserError: a test size below 1 or that the grid can't give, or an impossible seed.
    """
    sizes = {**SPLIT_SIZES, "test": test_size}
    # Beyond half of the grid there would soon be too few images that differ.
    most = SIZE // 2 - sum(SPLIT_SIZES.values())
    if not 1 <= test_size <= most:
        raise UserError(f"the test size is {test_size}: expected a number from 1 to {most}.")
    if not 0 <= seed < 2**32:
        raise UserError(f"the seed is {seed}: expected a number from 0 to {2**32 - 1}.")
    # RandomState's streams are frozen for good; those of numpy's newer generators may change.
    order = np.random.RandomState(seed).permutation(SIZE)
    found = _different(order)
    return {split: [next(found) for _ in range(size)] for split, size in sizes.items()}


def _different(order: np.ndarray) -> Iterator[Latents]:
    # The ends of the turn look alike, and small sprites at neighbouring angles may.
    seen = set()
    for index in order:
        latents = Latents.at(int(index))
        digest = hashlib.sha256(np.packbits(draw(latents)).tobytes()).digest()
        if digest not in seen:
            seen.add(digest)
            yield latents


def make_sprites(out: Path, *, test_size: int, seed: int) -> dict[str, dict[str, int]]:
    """Write ``sprites_loc`` and ``sprites_ori`` below a folder, in the VTAB-1k layout.

    Both have the same images, in PNG. The same arguments write the same bytes of pixels.

    Returns:
        For each task the number of images of each split.

    Raises:
        UserError: one of the tasks is there already, or an impossible test size.
    """
    for task in TASKS:
        if (out / task).exists():
            raise UserError(f"{out / task} is there already: remove it or choose another --out.")
    places = draw_split_places(test_size=test_size, seed=seed)
    written = {}
    for task, (attribute, names) in TASKS.items():
        splits = {
            split: ((_image(latents), getattr(latents, attribute)) for latents in drawn)
            for split, drawn in places.items()
        }
        readme = _README.format(task=task, seed=seed, test_size=test_size)
        written[task] = write_vtab(out / task, splits, classes=names, readme=readme)
    return written


def _image(latents: Latents) -> Image.Image:
    """Black and white in three channels, as VTAB gives dSprites to the backbone."""
    return Image.fromarray(draw(latents).astype(np.uint8) * 255).convert("RGB")


def _names(factor: str, values: int) -> tuple[str, ...]:
    groups: list[list[int]] = [[] for _ in range(CLASSES)]
    for value in range(values):
        groups[grouped_label(value, values=values, classes=CLASSES)].append(value)
    return tuple(f"{factor} {group[0]}-{group[-1]}" for group in groups)


TASKS = {
    "sprites_loc": ("location_label", _names("x", POSITIONS)),
    "sprites_ori": ("orientation_label", _names("orientation", len(ORIENTATIONS))),
}
"""For each task the property of ``Latents`` that is its label, and its class names."""

_README = """\
# {task}

Generated by `arcvit data make sprites --test_size {test_size} --seed {seed}`.

**These are not the images of dSprites**, and accuracies on them can't be compared with published
ones for `dsprites_loc` and `dsprites_ori`. They lie on dSprites' latent grid (3 shapes, 6 scales,
40 orientations, 32 x 32 positions; 64 x 64 pixels, black and white, no anti-aliasing) and are
labelled by VTAB's rules (16 classes of x position or of orientation), but arcvit drew them. Unlike
in dSprites, no two images have the same pixels: places on the grid that look like one drawn before
are passed over.

The layout is that of VTAB-1k: `train800.txt`, `val200.txt`, `train800val200.txt` (copies of the
images of the first two), `test.txt`, one line an image, path and label. `classes.txt` names the
classes.
"""

"""Which process made it: twelve kinds of texture in any colours, each image with its own draw."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from arcvit.data.make.canvas import SIDE, Draws, noise

_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(float)


def draw(label: int, draws: Draws, split: str) -> Image.Image:
    """A texture of a kind between two colours, with a little noise."""
    del split
    pattern = list(KINDS.values())[label](draws)
    pattern = pattern * draws.uniform(0.5, 1) + 0.15 * draws.randn(SIDE, SIDE)
    share = (pattern[..., None] + 1) / 2
    one, other = draws.rand(3), draws.rand(3)
    mixed = np.clip(one * share + other * (1 - share), 0, 1)
    return Image.fromarray((255 * mixed).astype(np.uint8))


def _turned(draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Phases along and across a random direction, at a random frequency."""
    angle, frequency = draws.uniform(0, np.pi), draws.uniform(0.3, 1)
    along, across = np.cos(angle) * _X + np.sin(angle) * _Y, np.cos(angle) * _Y - np.sin(angle) * _X
    return frequency * along + draws.uniform(0, 2 * np.pi), frequency * across


def _bent(draws: Draws) -> np.ndarray:
    return draws.uniform(2, 6) * noise(draws, 6)


def _waves(draws: Draws) -> np.ndarray:
    return np.sin(_turned(draws)[0] + _bent(draws))


def _stripes(draws: Draws) -> np.ndarray:
    return np.sign(_waves(draws))


def _bumps(draws: Draws) -> np.ndarray:
    along, across = _turned(draws)
    return np.sin(along) * np.sin(across + _bent(draws))


def _checks(draws: Draws) -> np.ndarray:
    along, across = _turned(draws)
    return np.sign(np.sin(along) * np.sin(across))


def _rings(draws: Draws) -> np.ndarray:
    x, y = draws.uniform(0, SIDE, 2)
    phase = draws.uniform(0, 2 * np.pi)
    return np.sin(draws.uniform(0.3, 1) * np.hypot(_X - x, _Y - y) + phase)


def _clouds(draws: Draws) -> np.ndarray:
    return 2 * noise(draws, int(draws.randint(10, 24))) - 1


def _grain(draws: Draws) -> np.ndarray:
    return 0.7 * draws.randn(SIDE, SIDE)


def _patches(draws: Draws) -> np.ndarray:
    return np.where(noise(draws, int(draws.randint(8, 16))) > 0.5, 1.0, -1.0)


def _veins(draws: Draws) -> np.ndarray:
    return 2 * np.abs(2 * noise(draws, int(draws.randint(8, 18))) - 1) - 1


def _specks(draws: Draws) -> np.ndarray:
    return np.where(draws.rand(SIDE, SIDE) < draws.uniform(0.02, 0.1), 1.0, -1.0)


def _distances(draws: Draws) -> np.ndarray:
    """To each of some random points, (H, W, points)."""
    points = SIDE * draws.rand(int(draws.randint(10, 30)), 2)
    return np.hypot(_X[..., None] - points[:, 0], _Y[..., None] - points[:, 1])


def _cells(draws: Draws) -> np.ndarray:
    nearest = np.sort(_distances(draws), axis=-1)
    walls = nearest[..., 1] - nearest[..., 0]
    return 2 * walls / walls.max() - 1


def _mosaic(draws: Draws) -> np.ndarray:
    nearest = _distances(draws).argmin(axis=-1)
    return 2 * draws.rand(nearest.max() + 1)[nearest] - 1


KINDS: dict[str, Callable[[Draws], np.ndarray]] = {
    "waves": _waves,
    "stripes": _stripes,
    "bumps": _bumps,
    "checks": _checks,
    "rings": _rings,
    "clouds": _clouds,
    "grain": _grain,
    "patches": _patches,
    "veins": _veins,
    "specks": _specks,
    "cells": _cells,
    "mosaic": _mosaic,
}
"""For each kind its pattern in [-1, 1], (H, W)."""
CLASSES = tuple(KINDS)

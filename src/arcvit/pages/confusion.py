"""Which class is taken for which, with photos: what the page's script makes a matrix of."""

from typing import Any

import numpy as np

from arcvit.core.shown import plain
from arcvit.pages.measured import Measured
from arcvit.pages.photos import Photos

IN_A_CELL = 20
"""Photos shown of a cell at most."""
_PHOTOS = 1200
_BYTES = 11_000_000
"""As many photos and as much of them are on a page at most: it stays below 15 MB, and a phone opens
it."""
_AT_ONCE = 64
_PAIRS = 30

Cell = tuple[int, int]
"""True and predicted class."""


def matrix(measured: Measured, photos: Photos) -> dict[str, Any]:
    """The matrix as the script takes it.

    Returns:
        ``classes``, their names; ``counts``, ``[true, predicted, images]`` of each cell that has
        any; ``photos``, by ``"true,predicted"`` a list of ``[data URI, path, probability]``.
    """
    counts = measured.counts
    shown: dict[str, list[list[Any]]] = {}
    for (true, predicted), index, uri in _small(measured, photos):
        image = measured.images[index]
        entry = [uri, plain(image.path), round(image.probability, 4)]
        shown.setdefault(f"{true},{predicted}", []).append(entry)
    return {
        "classes": list(map(plain, measured.classes)),
        "counts": [[int(i), int(j), int(counts[i, j])] for i, j in np.argwhere(counts)],
        "photos": shown,
    }


def pairs(measured: Measured) -> list[dict[str, Any]]:
    """The most frequent confusions: both classes by place and name, images, share of the class."""
    counts = measured.counts
    support = counts.sum(1)
    np.fill_diagonal(counts, 0)
    cells = [(i, j) for i, j in np.argwhere(counts)]
    cells.sort(key=lambda cell: -counts[cell])
    return [
        {
            "cell": f"{i},{j}",
            "true": measured.classes[i],
            "predicted": measured.classes[j],
            "images": int(counts[i, j]),
            "of": int(support[i]),
        }
        for i, j in cells[:_PAIRS]
    ]


def _small(measured: Measured, photos: Photos) -> list[tuple[Cell, int, str]]:
    """The photos that there is room for: mistakes first, one of each cell before a second one."""
    if photos.problem:
        return []
    waiting = _in_turn(measured)[:_PHOTOS]
    found: list[tuple[Cell, int, str]] = []
    room = _BYTES
    for start in range(0, len(waiting), _AT_ONCE):
        some = waiting[start : start + _AT_ONCE]
        for (cell, index), uri in zip(
            some, photos.small([measured.images[index] for _, index in some]), strict=True
        ):
            if uri is not None and len(uri) <= room:
                found.append((cell, index, uri))
                room -= len(uri)
    return found


def _in_turn(measured: Measured) -> list[tuple[Cell, int]]:
    """Images by cell: the surest mistakes and the least sure hits come first in theirs."""
    surest_first = np.argsort(-measured.probabilities, kind="stable")
    cells: dict[Cell, list[int]] = {}
    for index in surest_first.tolist():
        cell = int(measured.labels[index]), int(measured.predictions[index])
        cells.setdefault(cell, []).append(index)
    turns = []
    for cell, images in sorted(cells.items()):
        is_right = cell[0] == cell[1]
        ordered = images[::-1] if is_right else images
        turns += [((is_right, turn), cell, i) for turn, i in enumerate(ordered[:IN_A_CELL])]
    turns.sort(key=lambda item: item[0])
    return [(cell, index) for _, cell, index in turns]

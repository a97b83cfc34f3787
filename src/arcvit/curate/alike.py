"""Images that show the same: copies of a file, and near-duplicates by their features.

N images, d width of the features.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from arcvit.curate.probe import standardised

_NEIGHBOUR = 10
"""What is near is told by the distance to so many-th neighbour: drawings are all alike."""
_SHARE = 0.5
"""Share of that distance within which another image shows the same."""
_ROWS = 2048
"""Images that are compared with all others at once."""


class Pair(NamedTuple):
    """Two images that show the same: their rows, the cosine of their features, and whether the
    files are the same."""

    one: int
    other: int
    similarity: float
    is_copy: bool


def alike(
    features: np.ndarray, contents: Sequence[str], labels: np.ndarray, splits: Sequence[str]
) -> list[Pair]:
    """Pairs that show the same but have different labels, or are in different splits.

    Re-encoded, slightly cropped or brightened photos are within half the distance to the tenth
    neighbour of both images nine times in ten or more; hardly any others are (docs/labels.md).

    Args:
        features: (N, d).
        contents: a hash of each file.
        labels: (N,).
        splits: the split of each.

    Returns:
        Those of different labels first, copies before others, then the most alike.
    """
    directions = standardised(features)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    rank = min(_NEIGHBOUR + 1, len(labels))  # an image is its own first neighbour
    far = [np.partition(block, -rank, axis=1)[:, -rank] for _, block in _similarities(directions)]
    # Of directions, the square of a distance is 2 - 2 cosine.
    least = 1 - _SHARE**2 * (1 - np.concatenate(far))
    files = np.unique(np.array(contents), return_inverse=True)[1]
    parts = np.unique(np.array(splits), return_inverse=True)[1]
    found = []
    for rows, similarity in _similarities(directions):
        same = files[rows][:, None] == files
        near = similarity >= np.maximum(least[rows][:, None], least)
        apart = (labels[rows][:, None] != labels) | (parts[rows][:, None] != parts)
        later = rows[:, None] < np.arange(len(labels))
        for row, other in np.argwhere((same | near) & apart & later):
            value = min(float(similarity[row, other]), 1.0)
            found.append(Pair(int(rows[row]), int(other), value, bool(same[row, other])))

    def order(pair: Pair) -> tuple[bool, bool, float]:
        return bool(labels[pair.one] == labels[pair.other]), not pair.is_copy, -pair.similarity

    return sorted(found, key=order)


def _similarities(directions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some rows of directions (N, d), and their cosines with all (rows, N)."""
    for start in range(0, len(directions), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(directions)))
        yield rows, directions[rows] @ directions.T

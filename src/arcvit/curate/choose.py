"""Which photos to label next: unsure ones that differ from one another.

N images, K classes, d width of the features.
"""

import numpy as np

_ROUNDS = 15
_LEAST = 1e-9


def uncertainty(p: np.ndarray) -> np.ndarray:
    """How unsure a model is of each image, (N,): 1 less the two largest probabilities' difference.

    Args:
        p: probabilities (N, K), K of at least 2.
    """
    largest = np.partition(p, -2, axis=1)[:, -2:]
    margin: np.ndarray = np.abs(largest[:, 1] - largest[:, 0])
    return 1 - margin


def choose(inputs: np.ndarray, unsure: np.ndarray, n: int, seed: int) -> list[int]:
    """Rows of n images, the most unsure first.

    The images are divided into n clusters by k-means in which an image weighs as much as the model
    is unsure of it, and of each cluster the image next to its centre is taken. The idea is that of
    Zhdanov, "Diverse mini-batch Active Learning", 2019, on all images and not on the most unsure
    alone. docs/labels.md has what else was tried.

    Args:
        inputs: standardised features, (N, d).
        unsure: of each image in [0, 1], (N,).
        n: how many, at most N.
        seed: decides where the clusters start.
    """
    weights = unsure + _LEAST
    cluster_of, distance = _clusters(inputs, weights, n, np.random.default_rng(seed))
    order = np.lexsort((distance, cluster_of))
    first = np.unique(cluster_of[order], return_index=True)[1]
    chosen = order[first]
    # Clusters that have run empty leave room.
    rest = np.setdiff1d(np.argsort(-weights, kind="stable"), chosen, assume_unique=True)
    chosen = np.concatenate([chosen, rest[: n - len(chosen)]])
    return [int(row) for row in chosen[np.argsort(-weights[chosen], kind="stable")]]


def _clusters(
    x: np.ndarray, weights: np.ndarray, n: int, draws: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each image and the square of its distance to the centre, (N,) and (N,).

    Weighted k-means, from what k-means++ draws.
    """
    squares = np.square(x).sum(1)
    nearest = np.ones(len(x))
    centres: list[int] = []
    for _ in range(n):
        chance = nearest * weights
        if not chance.any():
            break  # all others are where a centre is
        centres.append(int(draws.choice(len(x), p=chance / chance.sum())))
        distance = squares - 2 * x @ x[centres[-1]] + squares[centres[-1]]
        nearest = np.maximum(distance if len(centres) == 1 else np.minimum(nearest, distance), 0)
        nearest[centres] = 0
    centre = x[centres].astype(np.float64)
    for turn in range(_ROUNDS + 1):
        distances = squares[:, None] - 2 * x @ centre.T + np.square(centre).sum(1)
        cluster_of = distances.argmin(1)
        if turn == _ROUNDS:
            break
        total = np.bincount(cluster_of, weights=weights, minlength=len(centre))
        held = total > 0
        sums = np.zeros_like(centre)
        np.add.at(sums, cluster_of, x * weights[:, None])
        centre[held] = sums[held] / total[held, None]
    return cluster_of, distances[np.arange(len(x)), cluster_of]

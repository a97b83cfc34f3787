"""Scores of images that have any number of labels. No torch.

N images, K labels.
"""

import numpy as np

from arcvit.core.task import NO_THRESHOLD


def average_precision(
    scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Average precision of each label, (K,); NaN of one that no image has.

    The mean of the precisions at the images that have the label, the surest first, as scikit-learn
    defines it: nothing is interpolated, and images of one score come together.

    Args:
        scores: the higher, the surer, (N, K).
        truth: whether each image has each label, (N, K).
        weights: how often each image counts, (N,), or for each of S samples, (N, S), which makes
            the result (K, S); None: once.
    """
    counts = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=float)
    found = np.full((scores.shape[1], *counts.shape[1:]), np.nan)
    for label in np.flatnonzero(truth.any(0)):
        order = np.argsort(-scores[:, label], kind="stable")
        ranked, has = scores[order, label], truth[order, label].astype(bool)
        # Of images of one score, each has the precision behind the last of them.
        ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]) + 1, len(order))
        place = np.searchsorted(ends, np.flatnonzero(has), side="right")
        places, firsts = np.unique(place, return_index=True)
        ends = ends[places]
        seen = np.add.reduceat(counts[order[: ends[-1]]], [0, *ends[:-1]], axis=0)
        hits = np.add.reduceat(counts[order[has]], firsts, axis=0)
        precision = hits.cumsum(0) / np.maximum(seen.cumsum(0), 1e-12)
        positives = hits.sum(0)
        found[label] = (hits * precision).sum(0) / np.where(positives > 0, positives, np.nan)
    return found


def mean_average_precision(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """The mean over the labels that an image has; None where none has any. As above."""
    found = average_precision(scores, truth)
    return None if np.isnan(found).all() else float(np.nanmean(found))


def label_f1(given: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """F1 of each label, (K,); NaN of one that no image has and none is given.

    Args:
        given: whether each image is given each label, (N, K).
        truth: whether it has it, (N, K).
    """
    sizes = given.sum(0) + truth.sum(0)
    return np.asarray(2 * (given & truth).sum(0) / np.where(sizes > 0, sizes, np.nan))


def multilabel_metrics(
    probabilities: np.ndarray, truth: np.ndarray, thresholds: np.ndarray | None = None
) -> dict[str, float | None]:
    """The metrics of a split.

    Args:
        probabilities: of each image and label, (N, K).
        truth: whether it has it, (N, K).
        thresholds: from which probability on a label is given, (K,); None: 0.5.

    Returns:
        Those of ``METRICS``: ``mAP`` and ``macro_f1``, means over the labels that an image has;
        ``micro_f1``, of all decisions together; ``exact_match``, the share of images whose labels
        are all right. None of what has no labels to be measured on.
    """
    truth = truth.astype(bool)
    given = probabilities >= (NO_THRESHOLD if thresholds is None else thresholds)
    asked = truth.any(0)
    sizes = int(given.sum() + truth.sum())
    return {
        "mAP": mean_average_precision(probabilities, truth),
        "macro_f1": float(label_f1(given, truth)[asked].mean()) if asked.any() else None,
        "micro_f1": 2 * int((given & truth).sum()) / sizes if sizes else None,
        "exact_match": float((given == truth).all(1).mean()),
    }

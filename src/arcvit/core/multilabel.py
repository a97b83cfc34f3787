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
        weights: how often each image counts, (N,); None: once.
    """
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)
    counts = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=float)
    seen = counts[order]
    hits = np.take_along_axis(truth, order, axis=0) * seen
    precision = np.cumsum(hits, axis=0) / np.maximum(np.cumsum(seen, axis=0), 1e-12)
    # Of images of one score, each has the precision at the last of them.
    places = np.arange(len(scores))[:, None]
    is_last = np.ones_like(ranked, dtype=bool)
    is_last[:-1] = ranked[1:] != ranked[:-1]
    last = np.minimum.accumulate(np.where(is_last, places, len(scores))[::-1], axis=0)[::-1]
    precision = np.take_along_axis(precision, last, axis=0)
    positives = hits.sum(0)
    found = (hits * precision).sum(0) / np.where(positives > 0, positives, np.nan)
    return np.asarray(found)


def mean_average_precision(
    scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None
) -> float | None:
    """The mean over the labels that an image has; None where none has any. As above."""
    found = average_precision(scores, truth, weights)
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

"""Confident learning: how suspicious a label is, and how many are wrong.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR
70, 2021. The probabilities are those of a model that wasn't fitted on the image.

N images, K classes; p of shape (N, K), labels of shape (N,). With several labels an image, each
is judged by itself, as a class that an image is of or not; truth of shape (N, K).
"""

import numpy as np

_LEAST = 1e-12


def thresholds(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How sure the model is of a class's images on average, (K,): equation 2 of the paper.

    A class without images has a threshold above 1, which no image reaches.
    """
    given = p[np.arange(len(labels)), labels]
    k = p.shape[1]
    counts = np.bincount(labels, minlength=k)
    sums = np.bincount(labels, weights=given, minlength=k)
    return np.where(counts > 0, sums / np.maximum(counts, 1), 2.0)


def confident_joint(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Images by given label (row) and by the label that they are confidently of, (K, K).

    An image is confidently of a class from the class's threshold on, and of the most probable one
    where there are several: equation 1. Images that are of none aren't counted.
    """
    k = p.shape[1]
    counted, confidently = _confidently(p, labels)
    joint = np.zeros((k, k), np.int64)
    np.add.at(joint, (labels[counted], confidently[counted]), 1)
    return joint


def _confidently(p: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which images are confidently of a class, (N,), and of which, (N,)."""
    reached = np.where(p >= thresholds(p, labels) - _LEAST, p, -1.0)
    return reached.max(1) >= 0, reached.argmax(1)


def wrong_labels(p: np.ndarray, labels: np.ndarray) -> int:
    """About how many labels are wrong: what lies off the diagonal of the confident joint."""
    joint = confident_joint(p, labels)
    return int(joint.sum() - np.trace(joint))


def suspicion(p: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much more probable another label is than the given one, and which, (N,) and (N,).

    With p(given) and the largest p of another label, the score is p(other) / (p(given) + p(other)):
    in [0, 1], above 1/2 where the other label is the more probable one. Deviation: the paper ranks
    by the difference p(given) - p(other), its normalized margin. The ratio says more where many
    classes are alike and every probability is small (benchmarks/suspects.py compares them).
    """
    rows = np.arange(len(labels))
    given = np.maximum(p[rows, labels], _LEAST)
    others = p.copy()
    others[rows, labels] = -1
    other = np.maximum(others.max(1), _LEAST)
    return other / (given + other), others.argmax(1)


def wrong_label_sets(p: np.ndarray, truth: np.ndarray) -> int:
    """About how many images have a label that they shouldn't, or lack one that they should."""
    wrong = np.zeros(len(truth), bool)
    for label in range(truth.shape[1]):
        both = np.stack([1 - p[:, label], p[:, label]], 1)
        counted, confidently = _confidently(both, truth[:, label].astype(int))
        wrong |= counted & (confidently != truth[:, label])
    return int(wrong.sum())


def suspicion_of_sets(p: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How improbable the least probable of an image's labels or gaps is, and which, (N,) twice.

    That is the ratio of :func:`suspicion` of the label, there or not, that stands out most. Scores
    less the labels' thresholds, or less how frequent they are, do worse (docs/labels.md).
    """
    wrong = np.where(truth, 1 - p, p)
    return wrong.max(1), wrong.argmax(1)

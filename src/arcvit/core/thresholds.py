"""From which probability on a label is given: one threshold a label, chosen on validation images.

N images, K labels. No torch.
"""

import numpy as np

from arcvit.core.task import NO_THRESHOLD

PRIOR = 10
"""As many images with a label count for the threshold that serves all labels together.

On the shapes of ``arcvit data make``, chosen on 25 to 200 images, it makes the macro F1 of the
others 0.5 to 2.6 points better than each label's own cut, and 10 to 13 better than 0.5
(benchmarks/thresholds.py)."""
_MOST = 8.0
"""Logits beyond it, a probability of 0.9997, are all alike."""


def choose_thresholds(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The threshold of each label, (K,): where its F1 is best, drawn to that of all labels.

    The best cut through a few images is mostly luck. It counts, as a logit, by the images that have
    the label; the threshold that is best for the decisions of all labels counts as ``PRIOR`` more.
    A label that no image has, and of which nothing is known therefore, gets 0.5.

    Args:
        probabilities: of images that weren't trained on, (N, K).
        truth: whether each has each label, (N, K).
    """
    truth = truth.astype(bool)
    support = truth.sum(0)
    if not support.any():
        return np.full(truth.shape[1], NO_THRESHOLD)
    common = _logit(_best_cut(probabilities.ravel(), truth.ravel()))
    found = np.full(truth.shape[1], NO_THRESHOLD)
    for label in np.flatnonzero(support):
        own = _logit(_best_cut(probabilities[:, label], truth[:, label]))
        drawn = (support[label] * own + PRIOR * common) / (support[label] + PRIOR)
        found[label] = 1 / (1 + np.exp(-drawn))
    return found


def _best_cut(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The cut, halfway between two probabilities, of the highest F1; of several the nearest 0.5."""
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order].astype(float), np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + hits[-1])
    cuts = (ranked + np.append(ranked[1:], 0)) / 2
    f1[:-1][ranked[1:] == ranked[:-1]] = -1  # those of one probability stay together
    best = cuts[f1 >= f1.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - NO_THRESHOLD))])


def _logit(probability: float) -> float:
    with np.errstate(divide="ignore"):
        return float(np.clip(np.log(probability / (1 - probability)), -_MOST, _MOST))

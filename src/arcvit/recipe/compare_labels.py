"""How sure the mAP of runs is, and its differences, where images have any number of labels."""

from collections.abc import Sequence

import numpy as np

from arcvit.core.multilabel import average_precision

RESAMPLES = 1000
"""Samples of the images, with replacement: ends of intervals are then sure to about a tenth."""
_COUNTS = 2**20
"""Counts of images in samples that are looked at together: few enough for a processor's cache."""


def bootstrapped(probabilities: Sequence[np.ndarray], truth: np.ndarray) -> np.ndarray:
    """The mAP of each run on samples of the same images, (runs, RESAMPLES).

    Paired bootstrap (Efron, 1979): images are drawn with replacement, for all runs alike. NaN where
    no drawn image has a label.

    Args:
        probabilities: of each run, (N, K), of the same images.
        truth: whether each image has each label, (N, K).
    """
    draws, images = np.random.default_rng(0), len(truth)
    at_once = max(1, _COUNTS // images)
    found = []
    for start in range(0, RESAMPLES, at_once):
        samples = [
            np.bincount(draws.integers(0, images, images), minlength=images)
            for _ in range(min(at_once, RESAMPLES - start))
        ]
        counts = np.stack(samples, axis=1)
        found.append([_mean(average_precision(run, truth, counts)) for run in probabilities])
    return np.concatenate(found, axis=1)


def _mean(precisions: np.ndarray) -> np.ndarray:
    """The mAP of each sample, (S,), over the labels that an image of it has; (K, S)."""
    measured = ~np.isnan(precisions)
    labels = measured.sum(0)
    total = np.where(measured, precisions, 0).sum(0)
    return np.asarray(total / np.where(labels > 0, labels, np.nan))


def interval(value: float, samples: np.ndarray) -> tuple[float, float]:
    """The ends of the basic bootstrap interval (Davison and Hinkley, 1997, section 5.2), in [0, 1].

    Images that are drawn again make the mAP of samples larger than it is, by as much as few images
    make it larger than that of many. So what the samples exceed the value by is taken off it: on
    drawn scores of 40, 100 and 400 images the interval then holds the true mAP 92, 92 and 93 times
    in 100, and between the samples' own quantiles it lies 67, 75 and 82 times
    (benchmarks/intervals.py, to about 4).

    Args:
        value: the mAP.
        samples: of it, (RESAMPLES,).
    """
    high, low = 2 * value - np.nanquantile(samples, (0.025, 0.975))
    return float(np.clip(low, 0, value)), float(np.clip(high, value, 1))


def chance(before: np.ndarray, after: np.ndarray) -> float:
    """How often a difference of the other sign would come: two-sided, at least 1 / RESAMPLES."""
    differences = (after - before)[~np.isnan(after - before)]
    below, above = (differences <= 0).mean(), (differences >= 0).mean()
    return float(min(1.0, max(2 * min(below, above), 1 / RESAMPLES)))

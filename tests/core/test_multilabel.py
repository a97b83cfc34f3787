"""Scores and thresholds of several labels an image, on numbers whose answer is known."""

import numpy as np
import pytest

from arcvit.core.multilabel import average_precision, mean_average_precision, multilabel_metrics
from arcvit.core.thresholds import PRIOR, choose_thresholds


def by_definition(scores: np.ndarray, truth: np.ndarray) -> float:
    """As scikit-learn defines it: sum of (R_n - R_n-1) P_n over the scores that occur."""
    found, recall = 0.0, 0.0
    for cut in sorted(set(scores.tolist()), reverse=True):
        given = scores >= cut
        now = truth[given].sum() / truth.sum()
        found += (now - recall) * truth[given].mean()
        recall = now
    return found


def test_average_precision_is_that_of_the_definition() -> None:
    draws = np.random.default_rng(0)
    scores = draws.integers(0, 12, (60, 5)) / 12  # many of one score
    truth = draws.random((60, 5)) < np.array([0.02, 0.1, 0.3, 0.6, 0.9])
    truth[0, 0] = True
    expected = [by_definition(s, t) for s, t in zip(scores.T, truth.T, strict=True)]
    assert average_precision(scores, truth).tolist() == pytest.approx(expected)
    assert mean_average_precision(scores, truth) == pytest.approx(np.mean(expected))
    # An image that counts twice is one that is there twice.
    times = draws.integers(0, 4, 60)
    again = np.repeat(np.arange(60), times)
    weighted = average_precision(scores, truth, times)
    assert weighted == pytest.approx(average_precision(scores[again], truth[again]), nan_ok=True)
    both = average_precision(scores, truth, np.stack([times, np.ones(60)], axis=1))
    assert pytest.approx(np.stack([weighted, expected]), nan_ok=True) == both.T


def test_a_known_average_precision() -> None:
    scores = np.array([[0.9], [0.8], [0.7], [0.6]])
    assert average_precision(scores, np.array([[1], [0], [1], [0]])) == pytest.approx(
        [(1 + 2 / 3) / 2]
    )
    assert average_precision(np.full((4, 1), 0.3), np.array([[1], [0], [0], [0]])) == [0.25]


def test_labels_that_no_image_has_are_left_out() -> None:
    truth = np.array([[1, 0, 1], [0, 0, 1]])
    probabilities = np.array([[0.9, 0.7, 0.8], [0.2, 0.1, 0.4]])
    found = multilabel_metrics(probabilities, truth)
    # The third label is given to one of its two images; the second to one, though none has it.
    expected = {"mAP": 1, "macro_f1": (1 + 2 / 3) / 2, "micro_f1": 2 * 2 / 6, "exact_match": 0}
    assert found == pytest.approx(expected)
    nothing = multilabel_metrics(np.full((2, 1), 0.1), np.zeros((2, 1)))
    assert nothing == {"mAP": None, "macro_f1": None, "micro_f1": None, "exact_match": 1}
    lower = multilabel_metrics(probabilities, truth, np.array([0.5, 0.95, 0.3]))
    assert lower["exact_match"] == 1


def test_thresholds_are_where_f1_is_best() -> None:
    draws = np.random.default_rng(1)
    truth = draws.random((4000, 3)) < np.array([0.5, 0.1, 0])
    logits = draws.normal(0, 1, truth.shape) + 3 * truth - np.array([1.5, 3, 1])
    probabilities = 1 / (1 + np.exp(-logits))
    found = choose_thresholds(probabilities, truth)
    at_half, chosen = (
        multilabel_metrics(probabilities, truth, t)["macro_f1"] for t in (None, found)
    )
    assert chosen > at_half + 0.03
    assert found[2] == 0.5  # of a label that no image has nothing is known
    assert choose_thresholds(probabilities, np.zeros_like(truth)).tolist() == [0.5] * 3


def test_a_threshold_of_few_images_is_drawn_to_that_of_all_labels() -> None:
    probabilities = np.full((100, 2), 0.1)
    probabilities[:PRIOR, 0], probabilities[0, 1] = 0.9, 0.3
    # 0.2 serves all decisions; the first label alone would be served by 0.5, halfway as a logit.
    found = choose_thresholds(probabilities, probabilities > 0.2)
    assert found == pytest.approx([1 / 3, 0.2])

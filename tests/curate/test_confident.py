import numpy as np
import pytest

from arcvit.curate.confident import (
    confident_joint,
    suspicion,
    suspicion_of_sets,
    thresholds,
    wrong_label_sets,
    wrong_labels,
)

P = np.array(
    [
        [0.9, 0.1, 0.0],
        [0.7, 0.3, 0.0],
        [0.2, 0.8, 0.0],  # labelled 0
        [0.1, 0.9, 0.0],
        [0.4, 0.6, 0.0],
    ]
)
LABELS = np.array([0, 0, 0, 1, 1])


def test_thresholds_are_mean_self_confidences() -> None:
    # Nothing is confidently of a class that has no images.
    assert thresholds(P, LABELS) == pytest.approx([0.6, 0.75, 2.0])


def test_the_confident_joint_counts_who_reaches_a_threshold() -> None:
    # The last row reaches neither and isn't counted.
    assert confident_joint(P, LABELS).tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert wrong_labels(P, LABELS) == 1


def test_suspicion_compares_the_given_label_with_the_best_other() -> None:
    score, suggested = suspicion(P, LABELS)
    assert score == pytest.approx([0.1, 0.3, 0.8, 0.1, 0.4])
    assert suggested.tolist() == [1, 1, 1, 0, 0]
    certain = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    score, _ = suspicion(certain, np.array([0, 1]))
    assert score == pytest.approx([1, 0])


def test_of_several_labels_each_is_judged_by_itself() -> None:
    p = np.array([[0.9, 0.2], [0.8, 0.1], [0.1, 0.9], [0.2, 0.3], [0.1, 0.1]])
    truth = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]], bool)
    score, which = suspicion_of_sets(p, truth)
    assert score == pytest.approx([0.2, 0.2, 0.1, 0.7, 0.9])
    assert which.tolist() == [1, 0, 0, 1, 0]
    # The last one has the first label and reaches 0.85, the mean of 1 - p of those without it.
    assert wrong_label_sets(p, truth) == 1

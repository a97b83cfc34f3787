"""Scores label by label, on decisions whose answer is known."""

from typing import Any

import numpy as np
import pytest

from arcvit.core.predictions import Predicted
from arcvit.pages.label_parts import label_table
from arcvit.pages.label_scores import (
    MeasuredLabels,
    label_scores,
    missed_and_false,
    surest_mistakes,
)


@pytest.fixture
def measured() -> MeasuredLabels:
    said: dict[str, Any] = {"split": "test", "hash": "h", "label": "", "predicted": ""}
    numbers = {"probability": 0.5, "uncalibrated": 0.5}
    return MeasuredLabels(
        split="test",
        classes=["cat", "dog", "=owl"],
        images=[Predicted(**said, **numbers, path=f"{row}.png") for row in range(4)],
        probabilities=np.array([[0.9, 0.1, 0], [0.8, 0.45, 0], [0.2, 0.3, 0], [0.05, 0.5, 0]]),
        truth=np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=bool),
        thresholds=np.array([0.5, 0.4, 0.5]),
    )


def test_each_label_is_scored_at_its_threshold(measured: MeasuredLabels) -> None:
    cat, dog, owl = label_scores(measured)
    assert (cat.support, cat.precision.value, cat.recall.value, cat.f1) == (2, 0.5, 0.5, 0.5)
    assert cat.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert (dog.recall.value, dog.f1, dog.threshold) == (1, 1, 0.4)
    assert (owl.support, owl.average_precision, owl.recall.value, owl.f1) == (0, None, None, None)
    assert measured.right.tolist() == [True, False, False, True]
    head, first, _, last = label_table([cat, dog, owl]).splitlines()
    assert head.startswith(
        "class,images,average_precision,precision,recall,f1,threshold,precision_l"
    )
    assert first.startswith("cat,2,0.8333,0.5,0.5,0.5,0.5,")
    assert last.startswith("'=owl,0,,,,,0.5,")  # no formula of a spreadsheet


def test_what_is_missed_where_what_is_given_falsely(measured: MeasuredLabels) -> None:
    assert missed_and_false(measured) == []
    measured.truth[1] = [False, False, True]
    assert missed_and_false(measured) == [("=owl", "cat", 1), ("=owl", "dog", 1)]


def test_the_surest_mistakes_come_first(measured: MeasuredLabels) -> None:
    # 0.8 is 0.6 of the way from 0.5 to certainty, and 0.2 is as far the other way.
    assert surest_mistakes(measured, 9) == [(1, 0), (2, 0)]
    measured.probabilities[2, 0] = 0.1
    assert surest_mistakes(measured, 1) == [(2, 0)]

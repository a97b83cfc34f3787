import numpy as np
import pytest

from arcvit.core.predictions import Predicted
from arcvit.pages.scores import (
    calibration_error,
    class_scores,
    coverage,
    reliability,
    slices,
)


def test_scores_of_classes() -> None:
    # Nothing is of the third class, and nothing is taken for the second.
    counts = np.array([[3, 0, 1], [2, 0, 0], [0, 0, 0]])
    first, second, third = class_scores(["a", "b", "c"], counts)
    assert (first.support, first.recall.value, first.precision.value) == (4, 3 / 4, 3 / 5)
    assert first.f1 == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert (second.recall.value, second.precision.value, second.f1) == (0, None, 0)
    assert (third.recall.value, third.precision.value, third.f1) == (None, 0, 0)
    assert first.recall.low < 0.75 < first.recall.high


def test_calibration() -> None:
    sure = np.array([0.9, 0.9, 0.6, 0.6, 1.0])
    right = np.array([True, False, True, True, True])
    assert [b.accuracy.of for b in reliability(sure, right)] == [2, 2, 1]
    assert calibration_error(sure, right) == pytest.approx((2 * 0.4 + 2 * 0.4 + 0) / 5)


def test_coverage_goes_by_whole_steps() -> None:
    sure = np.array([0.5, 0.9, 0.5, 0.7])
    right = np.array([True, True, False, False])
    answered, hits, least = coverage(sure, right)
    assert answered.tolist() == [1, 2, 4]
    assert hits.tolist() == [1, 1, 2]
    assert least.tolist() == [0.9, 0.7, 0.5]


def test_slices_by_further_columns() -> None:
    def image(predicted: str, **further: str) -> Predicted:
        return Predicted(
            split="test",
            path="",
            hash="",
            label="owl",
            predicted=predicted,
            probability=1,
            uncalibrated=1,
            further=further,
        )

    images = [image("owl", camera="b", site=""), image("emu", camera="a", site="x")]
    found = [(s.column, s.value, s.accuracy.hits, s.accuracy.of) for s in slices(images)]
    assert found == [("camera", "a", 0, 1), ("camera", "b", 1, 1), ("site", "x", 0, 1)]

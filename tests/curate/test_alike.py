import numpy as np
import pytest

from arcvit.curate import alike as module
from arcvit.curate.alike import alike


def test_near_duplicates_of_other_labels_or_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = np.random.default_rng(0)
    features = draws.normal(size=(60, 16)).astype(np.float32)
    features[50] = features[7] + 0.05 * draws.normal(size=16)  # another label
    features[51] = features[8] + 0.05 * draws.normal(size=16)  # another split
    features[52] = features[9] + 0.05 * draws.normal(size=16)  # no harm
    contents = [str(row) for row in range(60)]
    contents[53] = contents[10]  # a copy, whatever its features are
    labels = np.zeros(60, int)
    labels[[50, 53]] = 1
    splits = ["train"] * 60
    splits[51] = "test"
    whole = alike(features, contents, labels, splits)
    assert [pair[:2] for pair in whole] == [(10, 53), (7, 50), (8, 51)]
    assert [pair.is_copy for pair in whole] == [True, False, False]
    monkeypatch.setattr(module, "_ROWS", 17)
    assert [pair[:2] for pair in alike(features, contents, labels, splits)] == [
        pair[:2] for pair in whole
    ]


def test_two_images_are_no_trouble() -> None:
    assert alike(np.eye(2, dtype=np.float32), ["a", "b"], np.array([0, 1]), ["train"] * 2) == []

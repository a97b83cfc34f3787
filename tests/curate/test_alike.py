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


def test_near_is_what_is_near_for_both() -> None:
    # Seen from 7 degrees all others but one are far away; seen from 0 degrees ten are at 10.
    degrees = np.array([0, 7, *[-10] * 10])
    angles = np.radians(np.concatenate([degrees + turn for turn in (0, 90, 180, 270)]))
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    labels = np.tile([0, 1, *[0] * 10], 4)
    contents = [str(row) for row in range(48)]
    assert alike(features, contents, labels, ["train"] * 48) == []
    # Nearer than half of that, it is a pair.
    angles[1] = np.radians(4)
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    assert [pair[:2] for pair in alike(features, contents, labels, ["train"] * 48)] == [(0, 1)]


def test_two_images_are_no_trouble() -> None:
    assert alike(np.eye(2, dtype=np.float32), ["a", "b"], np.array([0, 1]), ["train"] * 2) == []

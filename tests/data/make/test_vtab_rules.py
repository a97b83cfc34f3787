from collections import Counter

import pytest

from arcvit.data.make import vtab_rules as rules


def test_clevr_count() -> None:
    assert [rules.clevr_count_label(n) for n in range(3, 11)] == list(range(8))
    for wrong in (2, 11):
        with pytest.raises(ValueError, match="expected 3 to 10"):
            rules.clevr_count_label(wrong)


@pytest.mark.parametrize(
    ("depths", "label"),
    [
        ([7.9], 0),
        ([8.0], 0),  # a depth on a limit belongs to the class below it
        ([8.01, 20.0], 1),
        ([12.0, 8.6], 2),
        ([9.2], 3),
        ([9.5, 9.6], 3),
        ([9.7], 4),
        ([10.0], 4),
        ([10.01], 5),
    ],
)
def test_clevr_dist(depths: list[float], label: int) -> None:
    assert rules.clevr_dist_label(depths) == label


def test_clevr_dist_of_nothing() -> None:
    with pytest.raises(ValueError, match="without objects"):
        rules.clevr_dist_label([])
    with pytest.raises(ValueError, match="not above"):
        rules.clevr_dist_label([0.0])


@pytest.mark.parametrize(
    ("types", "depths", "label"),
    [
        ([0], [5.0], 0),
        ([0], [8.0], 0),
        ([1, 2], [30.0, 8.5], 1),
        ([2], [20.5], 2),
        ([3, 7], [2.0, 4.0], 3),  # a pedestrian is no vehicle
        ([3, 0], [2.0, 40.0], 2),
        ([], [], 3),
        ([0], [-3.0], 0),
    ],
)
def test_kitti(types: list[int], depths: list[float], label: int) -> None:
    assert rules.kitti_label(types, depths) == label


def test_kitti_of_unlike_lists() -> None:
    with pytest.raises(ValueError, match="1 types but 2 depths"):
        rules.kitti_label([0], [1.0, 2.0])


def test_dsprites() -> None:
    positions = [rules.grouped_label(x, values=32, classes=16) for x in range(32)]
    assert positions == [x // 2 for x in range(32)]
    turns = [rules.grouped_label(o, values=40, classes=16) for o in range(40)]
    assert turns[:8] == [0, 0, 0, 1, 1, 2, 2, 2]
    assert sorted(Counter(turns).values()) == [2] * 8 + [3] * 8
    with pytest.raises(ValueError, match="expected 0 to 31"):
        rules.grouped_label(32, values=32, classes=16)

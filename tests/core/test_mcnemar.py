from math import comb

import pytest

from arcvit.core.mcnemar import mcnemar


@pytest.mark.parametrize(
    ("one_way", "other_way"), [(0, 0), (0, 1), (5, 5), (1, 9), (9, 1), (20, 45), (700, 300)]
)
def test_twice_the_smaller_tail_of_fair_coins(one_way: int, other_way: int) -> None:
    n = one_way + other_way
    tail = sum(comb(n, k) for k in range(min(one_way, other_way) + 1)) / 2**n
    assert mcnemar(one_way, other_way) == pytest.approx(min(1, 2 * tail), rel=1e-9)

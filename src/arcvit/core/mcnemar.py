"""Whether two models differ by more than chance, asked on the same images."""

import math


def mcnemar(one_way: int, other_way: int) -> float:
    """The exact two-sided p-value of McNemar's test (Psychometrika 1947).

    Images that both have right, or both wrong, say nothing; were the models alike, each of the
    others would go either way as a fair coin falls.

    Args:
        one_way: images that only the first has right.
        other_way: images that only the second has right.
    """
    few, n = min(one_way, other_way), one_way + other_way

    def share(k: int) -> float:  # of all ways in which k of n coins show heads
        ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        return math.exp(ways - n * math.log(2))

    return min(1.0, 2 * math.fsum(share(k) for k in range(few + 1)))

"""How far a share that was measured on few images may be from the truth."""

import numpy as np
from numpy.typing import ArrayLike

Z = 1.959964
"""Normal quantile of an interval that holds the truth 95 times in 100."""


def wilson(hits: ArrayLike, of: ArrayLike, *, z: float = Z) -> tuple[np.ndarray, np.ndarray]:
    """The score interval of shares (Wilson, JASA 1927): fair even for few images and shares near 1.

    Args:
        hits: how many, of any shape.
        of: out of how many, of the same shape; of none the interval is all of [0, 1].
        z: quantile of the normal distribution.

    Returns:
        The lower and the upper ends, within [0, 1].
    """
    n = np.asarray(of, dtype=float)
    share = np.asarray(hits, dtype=float) / np.maximum(n, 1)
    n = np.where(n > 0, n, np.nan)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = np.clip(middle - reach, 0, 1), np.clip(middle + reach, 0, 1)
    return np.nan_to_num(low, nan=0.0), np.nan_to_num(high, nan=1.0)

import numpy as np
import pytest

from arcvit.core.intervals import wilson


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3; and of nothing.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (0, 0, 0, 1)],
)
def test_published_intervals(hits: int, of: int, low: float, high: float) -> None:
    np.testing.assert_allclose(wilson(hits, of), (low, high), atol=5e-5)

import pytest

from arcvit.sweep.rates import best_rate

CASES = [
    ({0.1: 0.5, 0.01: 0.6}, 0.01),
    ({0.1: 0.6, 0.01: 0.5}, 0.1),
    ({0.1: 0.6, 0.01: 0.6, 0.3: 0.6}, 0.01),
    ({0.1: 0.0}, 0.1),
]


@pytest.mark.parametrize(("accuracies", "expected"), CASES)
def test_ties_go_to_the_lower_rate(accuracies: dict[float, float], expected: float) -> None:
    assert best_rate(accuracies) == expected

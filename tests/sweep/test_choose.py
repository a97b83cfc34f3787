import pytest

from arcvit.sweep.choose import best_settings
from arcvit.sweep.space import Settings

CASES = [
    ([({"lr": 0.1}, 0.5), ({"lr": 0.01}, 0.6)], {"lr": 0.01}),
    ([({"lr": 0.1}, 0.6), ({"lr": 0.01}, 0.5)], {"lr": 0.1}),
    ([({"lr": 0.1}, 0.6), ({"lr": 0.01}, 0.6), ({"lr": 0.3}, 0.6)], {"lr": 0.01}),
    ([({"lr": 0.1}, 0.0)], {"lr": 0.1}),
    ([({"lr": 0.1, "wd": 0.0}, 0.6), ({"lr": 0.01, "wd": 0.1}, 0.6)], {"lr": 0.01, "wd": 0.1}),
    (
        [({"wd": 0, "optim.lr": 0.1}, 0.6), ({"wd": 1, "optim.lr": 0.01}, 0.6)],
        {"wd": 1, "optim.lr": 0.01},
    ),
    ([({"lr": 0.1, "wd": 0.1}, 0.6), ({"lr": 0.1, "wd": 0.0}, 0.6)], {"lr": 0.1, "wd": 0.0}),
]


@pytest.mark.parametrize(("tried", "expected"), CASES)
def test_ties_go_to_the_lower(tried: list[tuple[Settings, float]], expected: Settings) -> None:
    assert best_settings(tried) == expected

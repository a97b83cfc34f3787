import math

import pytest

from arcvit.engine.schedule import share_of_peak

CASES = [
    (0, 4, 20, 0.0),
    (1, 4, 20, 0.25),
    (4, 4, 20, 1.0),
    (12, 4, 20, 0.5),
    (8, 4, 20, 0.5 * (1 + math.cos(math.pi / 4))),
    (20, 4, 20, 0.0),
    (99, 4, 20, 0.0),
    (0, 0, 1, 1.0),
    (1, 0, 1, 0.0),
    # Nothing but warm-up.
    (3, 4, 4, 0.75),
    (4, 4, 4, 0.0),
]


@pytest.mark.parametrize(("step", "warmup", "steps", "share"), CASES)
def test_share_of_peak(step: int, warmup: int, steps: int, share: float) -> None:
    assert share_of_peak(step, warmup=warmup, steps=steps) == pytest.approx(share, abs=1e-12)

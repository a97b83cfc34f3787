"""Whether a written model gives what the adapted one gave."""

import math

from torch import Tensor

from arcvit.core.errors import UserError

TOLERANCE = 1e-4
"""Largest difference of logits, relative to their largest magnitude where that is above one."""


def check_same(logits: Tensor, expected: Tensor) -> float:
    """The largest absolute difference of two models' logits.

    Raises:
        UserError: it is larger than rounding explains.
    """
    difference = (logits - expected).abs().max().item()
    largest = expected.abs().max().item()
    if not math.isfinite(largest) or not difference <= TOLERANCE * max(1.0, largest):
        raise UserError(
            f"the folded model differs from the adapted one by {difference:.2g} in its logits:"
            " nothing was written; please report this."
        )
    return difference

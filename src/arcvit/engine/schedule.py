"""Learning rate over a run: linear warm-up, then half a cosine down to zero, per optimizer step."""

import math


def share_of_peak(step: int, *, warmup: int, steps: int) -> float:
    """Share of the peak rate at an optimizer step.

    Args:
        step: steps taken before it, from 0.
        warmup: steps in which the rate rises from 0.
        steps: steps of the whole run.
    """
    if step < warmup:
        return step / warmup
    if step >= steps:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

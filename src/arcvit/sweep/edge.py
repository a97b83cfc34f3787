"""Learning rates beyond those tried, where the best of them is the lowest or highest. No torch."""

from collections.abc import Sequence

from arcvit.sweep.space import RATE, Settings


def at_edge(trials: Sequence[Settings], best: Settings) -> bool:
    """Whether the best rate is the lowest or highest of several, so that others may be better."""
    rates = _rates(trials)
    return len(rates) > 1 and best[RATE] in (rates[0], rates[-1])


def beyond(trials: Sequence[Settings], best: Settings) -> list[Settings]:
    """The trials of one more rate: as far beyond the best as its neighbour is before it.

    Every combination of the other settings is tried at it, as at the rates before.

    Args:
        trials: all that were tried.
        best: the best of them.

    Returns:
        Nothing where the best rate lies between others.
    """
    if not at_edge(trials, best):
        return []
    rates = _rates(trials)
    edge, neighbour = rates[:2] if best[RATE] == rates[0] else rates[:-3:-1]
    further = float(f"{edge * edge / neighbour:.2g}")
    return [{**settings, RATE: further} for settings in trials if settings[RATE] == edge]


def _rates(trials: Sequence[Settings]) -> list[float]:
    return sorted({settings[RATE] for settings in trials if RATE in settings})

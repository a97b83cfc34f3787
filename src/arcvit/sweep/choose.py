"""The settings of a method on a task, chosen on the validation split."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from arcvit.core.files import write_json
from arcvit.core.metric import Metric
from arcvit.sweep.edge import at_edge
from arcvit.sweep.space import RATE, Settings

CHOICE_FILE = "choice.json"
Scores = Sequence[float | None]
"""What the runs that settings were tried in came to on validation, by the metric that choices go
by; None where one's loss wasn't finite."""
Tried = Sequence[tuple[Settings, Scores]]
"""Settings with what came of them."""


def choose_settings(tried: Tried, folder: Path, *, metric: Metric = "accuracy") -> Settings | None:
    """The best on validation, left with all trials in ``choice.json``; None: none was finite.

    Args:
        tried: settings with what their runs came to.
        folder: where the trials are.
        metric: what that is.
    """
    chosen = best_settings(tried)
    if chosen is None:
        return None
    trials = [
        {"settings": settings, f"val_{metric}": _mean(found), "runs": list(found)}
        for settings, found in tried
    ]
    edge = at_edge([settings for settings, _ in tried], chosen)
    choice = {"settings": chosen, "metric": metric, "edge": edge, "trials": trials}
    write_json(folder / CHOICE_FILE, choice)
    return chosen


def best_settings(tried: Tried) -> Settings | None:
    """The settings with the highest mean; of several the lowest: rate, then the others.

    A mean over seeds is pulled down by one that was ruined, and one that isn't finite rules its
    settings out: luck in a single run chooses nothing.
    """
    means = [(settings, mean) for settings, found in tried if (mean := _mean(found)) is not None]
    return min(means, key=lambda trial: (-trial[1], _rate_first(trial[0])), default=(None,))[0]


def _mean(scores: Scores) -> float | None:
    finite = [score for score in scores if score is not None]
    return statistics.fmean(finite) if len(finite) == len(scores) and finite else None


def _rate_first(settings: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(value for _, value in sorted(settings.items(), key=lambda s: s[0] != RATE))

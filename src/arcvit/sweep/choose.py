"""The settings of a method on a task, chosen on the validation split."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from arcvit.core.files import write_json
from arcvit.sweep.edge import at_edge
from arcvit.sweep.space import RATE, Settings

CHOICE_FILE = "choice.json"
Accuracies = Sequence[float | None]
"""Of the runs that settings were tried in; None where one's loss wasn't finite."""
Tried = Sequence[tuple[Settings, Accuracies]]
"""Settings with what came of them."""


def choose_settings(tried: Tried, folder: Path) -> Settings | None:
    """The best on validation, left with all trials in ``choice.json``; None: none was finite.

    Args:
        tried: settings with their accuracies.
        folder: where the trials are.
    """
    chosen = best_settings(tried)
    if chosen is None:
        return None
    trials = [
        {"settings": settings, "val_accuracy": _mean(found), "runs": list(found)}
        for settings, found in tried
    ]
    edge = at_edge([settings for settings, _ in tried], chosen)
    write_json(folder / CHOICE_FILE, {"settings": chosen, "edge": edge, "trials": trials})
    return chosen


def best_settings(tried: Tried) -> Settings | None:
    """The settings with the highest mean accuracy; of several the lowest: rate, then the others.

    A mean over seeds is pulled down by one that was ruined, and one that isn't finite rules its
    settings out: luck in a single run chooses nothing.
    """
    means = [(settings, mean) for settings, found in tried if (mean := _mean(found)) is not None]
    return min(means, key=lambda trial: (-trial[1], _rate_first(trial[0])), default=(None,))[0]


def _mean(accuracies: Accuracies) -> float | None:
    finite = [accuracy for accuracy in accuracies if accuracy is not None]
    return statistics.fmean(finite) if len(finite) == len(accuracies) and finite else None


def _rate_first(settings: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(value for _, value in sorted(settings.items(), key=lambda s: s[0] != RATE))

"""The records of a run's epochs: ``metrics.jsonl``, and whether anything was learned."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arcvit.core.files import to_json, write_text

METRICS_FILE = "metrics.jsonl"
_NO_LOWER = 0.97
"""Runs that learn little end at nine tenths of what guessing gives; those that collapse, at it."""


def write_metrics(run: Path, epochs: Sequence[dict[str, Any]]) -> None:
    """Write the records of all epochs, whole: a resumed run doesn't hold an epoch twice."""
    lines = "".join(to_json(epoch) + "\n" for epoch in epochs)
    write_text(run / METRICS_FILE, lines)


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The records of a run's epochs; none where the file is gone or damaged."""
    try:
        lines = (run / METRICS_FILE).read_text(encoding="utf-8").splitlines()
        epochs = [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return []
    return epochs if all(map(_is_epoch, epochs)) else []


def _is_epoch(record: Any) -> bool:
    """Whether a line holds numbers, or null where one wasn't finite."""
    return isinstance(record, dict) and all(
        value is None or isinstance(value, (int, float)) for value in record.values()
    )


def learned_nothing(epochs: Sequence[dict[str, Any]], guessing: float) -> str | None:
    """What to say of a run whose training loss ended where it began, or at that of guessing.

    Too high a rate can ruin a model within an epoch, for good: the loss then stays at that of
    guessing, ``ln K`` of K classes, without ever being infinite, and the accuracy alone could be
    that of a hard task.

    Args:
        epochs: records of all epochs, with ``train_loss``.
        guessing: the loss of what says the same of every image.

    Returns:
        The rest of a sentence that begins with the run; None if it learned or has one epoch.
    """
    if len(epochs) < 2 or guessing <= 0:
        return None
    first, last = (
        math.nan if epoch["train_loss"] is None else epoch["train_loss"]
        for epoch in (epochs[0], epochs[-1])
    )
    if last < _NO_LOWER * min(first, guessing):
        return None
    return (
        f"learned nothing: the training loss ended at {last:.3g}, after {first:.3g} in the first"
        f" epoch ({guessing:.3g} is guessing); try another --optim.lr"
    )

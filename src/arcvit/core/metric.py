"""What a split is measured by, by name. No torch."""

from types import MappingProxyType
from typing import Literal

from arcvit.core.task import Kind

Metric = Literal["accuracy", "balanced_accuracy", "macro_f1", "mAP", "micro_f1", "exact_match"]

METRICS = MappingProxyType[Kind, tuple[Metric, ...]](
    {
        "single": ("accuracy", "balanced_accuracy", "macro_f1"),
        "multilabel": ("mAP", "macro_f1", "micro_f1", "exact_match"),
    }
)
"""The metrics of each kind of task, all fractions in [0, 1]; the first goes by default."""

_NAMES = {
    "balanced_accuracy": "balanced",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "exact_match": "all labels right",
}


def metric_text(name: str, value: float | None) -> str:
    """A metric as a person reads it: ``mAP 81.2%``."""
    return f"{_NAMES.get(name, name)} {'not measured' if value is None else f'{value:.1%}'}"

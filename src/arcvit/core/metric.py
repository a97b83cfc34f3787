"""What a split is measured by, by name. No torch."""

from collections.abc import Mapping
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

METRIC_NAMES = {
    "balanced_accuracy": "balanced",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "exact_match": "all labels right",
}
"""What metrics are called where a person reads them, if not as they are."""


def metric_texts(metrics: Mapping[str, float | None], chosen_by: Metric = "accuracy") -> list[str]:
    """The metrics of a split as a person reads them, the main one first: ``mAP 81.2%``.

    Args:
        metrics: by name.
        chosen_by: the metric that choices go by; the macro F1 of one label an image is told where
            it is that.
    """
    left_out = "macro_f1" if "accuracy" in metrics and chosen_by != "macro_f1" else None
    return [
        f"{METRIC_NAMES.get(name, name)} {'not measured' if value is None else f'{value:.1%}'}"
        for name, value in metrics.items()
        if name != left_out
    ]


def group_text(accuracy: float | None, groups: int) -> str:
    """The accuracy of groups of images as a person reads it: ``75.0% of 8 groups``."""
    if accuracy is None:
        return f"accuracy of its {groups:,} groups not measured, as an image has several labels"
    return f"{accuracy:.1%} of {groups:,} groups"

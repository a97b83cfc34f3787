"""Names of classes in a model of transformers."""

from collections.abc import Sequence
from typing import Any

from torch import nn


def name_labels(model: nn.Module, labels: Sequence[str]) -> None:
    """Make a model's config name its outputs, for pipelines and for whoever loads it once saved.

    Args:
        model: a plain model; nothing happens where it has no such config, as timm's have none.
        labels: class names in the order of the logits.
    """
    config: Any = getattr(model, "config", None)
    if hasattr(config, "id2label"):
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}

"""Names of classes in a model of transformers."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from arcvit.core.task import Kind


def name_labels(model: nn.Module, labels: Sequence[str], kind: Kind = "single") -> None:
    """Make a model's config name its outputs, for pipelines and for whoever loads it once saved.

    Args:
        model: a plain model; nothing happens where it has no such config, as timm's have none.
        labels: class names in the order of the logits.
        kind: with multilabel pipelines take the sigmoid of each logit, else their softmax.
    """
    config: Any = getattr(model, "config", None)
    if hasattr(config, "id2label"):
        config.id2label = dict(enumerate(labels))
        config.problem_type = "multi_label_classification" if kind == "multilabel" else None
        config.label2id = {label: index for index, label in enumerate(labels)}

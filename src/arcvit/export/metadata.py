"""What the outputs of an exported model mean, as JSON that any program reads.

``kind`` is single (softmax over the labels) or multilabel (a sigmoid of each); logits are divided
by ``temperature`` before; with several labels an image each is given from its of ``thresholds`` on.
``preprocessing`` is as in ``task.json``: an image is resized as ``resize`` says to ``resize_size``
pixels, its centre of ``size`` cut out, scaled to [0, 1], and normalised by ``mean`` and ``std``.
"""

from typing import Any

from arcvit.core.task import NO_THRESHOLD, AdapterTask


def metadata(task: AdapterTask) -> dict[str, Any]:
    """Labels, kind, temperature, thresholds and preprocessing of a task."""
    several = task.kind == "multilabel"
    return {
        "labels": task.labels,
        "kind": task.kind,
        "temperature": 1.0 if task.calibration is None else task.calibration.temperature,
        "thresholds": task.thresholds or [NO_THRESHOLD] * len(task.labels) if several else None,
        "preprocessing": task.preprocessing,
        "backbone": task.backbone.name,
    }

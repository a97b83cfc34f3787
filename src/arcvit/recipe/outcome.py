"""What came out of a run, as its record: ``result.json``."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import numpy as np
import torch
from torch import nn

from arcvit.core.result import RunResult
from arcvit.engine.by_group import accuracy_by_group
from arcvit.engine.clock import Clock
from arcvit.engine.device import peak_memory_mb
from arcvit.engine.evaluate import Evaluation, MultilabelEvaluation, Outcome, majority_share
from arcvit.engine.groups import adapter_parameters, count
from arcvit.engine.loop import Record
from arcvit.engine.objective import guessing_loss
from arcvit.recipe.adapter import adapter_size
from arcvit.recipe.prepare import Workplace
from arcvit.recipe.recipe import Recipe

_LIBRARIES = ("torch", "timm", "peft", "accelerate")


def run_result(
    recipe: Recipe,
    work: Workplace,
    *,
    params: dict[str, int],
    history: Sequence[Record],
    outcomes: Mapping[str, Outcome],
    temperature: float,
    thresholds: np.ndarray | None,
    clock: Clock,
    device: torch.device,
) -> RunResult:
    """The record of a run.

    Args:
        recipe: what was asked.
        work: what it worked with.
        params: how many values were trained.
        history: the record of each epoch.
        outcomes: what came out, by split; without test it wasn't read, or there is none.
        temperature: what logits are divided by.
        thresholds: from which probability on a label is given, (K,), of several labels an image.
        clock: where the time went.
        device: where the model was trained.
    """
    training_seconds = clock.seconds("train") + clock.seconds("features")
    metrics = {s: _metrics(outcome, temperature, thresholds) for s, outcome in outcomes.items()}
    val, test = metrics.get("val", {}), metrics.get("test", {})
    groups = accuracy_by_group(outcomes.get("test"), work.task, work.images.test)
    classes = len(work.task.classes)
    return RunResult(
        task=work.task.name,
        kind=work.task.kind,
        backbone=recipe.backbone,
        backbone_fingerprint=work.adapter_task.backbone.fingerprint,
        method=recipe.method,
        seed=recipe.seed,
        preset=recipe.data.preset,
        selection=f"fitted on {recipe.data.fit_on}, last epoch, "
        + ("test read once" if "test" in outcomes else "test not read"),
        metric=recipe.chosen_by,
        classes=classes,
        train_images=len(work.images.train),
        skipped_images=work.images.skipped,
        params=params,
        metrics=metrics,
        val_accuracy=val.get("accuracy"),
        test_accuracy=test.get("accuracy"),
        val_balanced_accuracy=val.get("balanced_accuracy"),
        test_balanced_accuracy=test.get("balanced_accuracy"),
        guessing_loss=guessing_loss(work.images.train.labels, classes),
        out_of_fold=None,
        majority_share=_majority_share(outcomes),
        test_group_accuracy=None if groups is None else groups[0],
        test_groups=None if groups is None else groups[1],
        epochs=len(history),
        seconds={"train": training_seconds, "eval": clock.seconds("evaluation")},
        images_per_second=sum(r["images"] for r in history) / training_seconds,
        peak_memory_mb=peak_memory_mb(device),
        adapter_bytes=adapter_size(work.model, work.backbone.head),
        versions={name: version(name) for name in _LIBRARIES},
        arcvit_version=version("arcvit"),
    )


def _metrics(
    outcome: Outcome, temperature: float, thresholds: np.ndarray | None
) -> dict[str, float | None]:
    if isinstance(outcome, MultilabelEvaluation):
        return outcome.metrics(thresholds, temperature=temperature)
    return outcome.metrics()


def _majority_share(outcomes: Mapping[str, Outcome]) -> float | None:
    """Of the test split, or of the validation split where that wasn't read."""
    last = outcomes.get("test", outcomes.get("val"))
    return majority_share(last.labels) if isinstance(last, Evaluation) else None


def parameter_counts(model: nn.Module, parts: Mapping[str, list[nn.Parameter]]) -> dict[str, int]:
    """How many values are trained: adapter, head, total; and how many the adapter stores."""
    head = count(parts.get("head", []))
    total = sum(count(parameters) for parameters in parts.values())
    fixed = count([p for p in adapter_parameters(model) if not p.requires_grad])
    return {"adapter": total - head, "head": head, "total": total, "stored": total - head + fixed}

"""What came out of a run, as its record: ``result.json``."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import torch
from torch import nn

from arcvit.core.result import RunResult
from arcvit.engine.by_group import accuracy_by_group
from arcvit.engine.clock import Clock
from arcvit.engine.device import peak_memory_mb
from arcvit.engine.evaluate import Evaluation, majority_share
from arcvit.engine.groups import adapter_parameters, count
from arcvit.engine.loop import Record
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
    test: Evaluation | None,
    clock: Clock,
    device: torch.device,
) -> RunResult:
    """The record of a run.

    Args:
        recipe: what was asked.
        work: what it worked with.
        params: how many values were trained.
        history: the record of each epoch.
        test: what came out on the test split; None: it wasn't read, or there is none.
        clock: where the time went.
        device: where the model was trained.
    """
    training_seconds = clock.seconds("train") + clock.seconds("features")
    groups = None if test is None else accuracy_by_group(test, work.task, work.images.test)
    measured = work.images.val if test is None else work.images.test
    return RunResult(
        task=work.task.name,
        backbone=recipe.backbone,
        backbone_fingerprint=work.adapter_task.backbone.fingerprint,
        method=recipe.method,
        seed=recipe.seed,
        preset=recipe.data.preset,
        selection=f"fitted on {recipe.data.fit_on}, last epoch, "
        + ("test not read" if test is None else "test read once"),
        metric=recipe.metric,
        classes=len(work.task.classes),
        train_images=len(work.images.train),
        skipped_images=work.images.skipped,
        params=params,
        val_accuracy=history[-1]["val_accuracy"],
        test_accuracy=None if test is None else test.accuracy,
        val_balanced_accuracy=history[-1]["val_balanced_accuracy"],
        test_balanced_accuracy=None if test is None else test.balanced_accuracy,
        val_macro_f1=history[-1]["val_macro_f1"],
        test_macro_f1=None if test is None else test.macro_f1,
        majority_share=None if measured is None else majority_share(measured.labels),
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


def parameter_counts(model: nn.Module, parts: Mapping[str, list[nn.Parameter]]) -> dict[str, int]:
    """How many values are trained: adapter, head, total; and how many the adapter stores."""
    head = count(parts.get("head", []))
    total = sum(count(parameters) for parameters in parts.values())
    fixed = count([p for p in adapter_parameters(model) if not p.requires_grad])
    return {"adapter": total - head, "head": head, "total": total, "stored": total - head + fixed}

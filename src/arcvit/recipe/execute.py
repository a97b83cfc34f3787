"""Do what a recipe says: train, evaluate, and leave a complete run folder."""

import dataclasses
import json
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console
from torch import nn

from arcvit.core.errors import UserError
from arcvit.core.files import write_text
from arcvit.core.result import RunResult, is_finished
from arcvit.data.images import ImageBank
from arcvit.engine.batches import Batches, Prepare
from arcvit.engine.device import make_accelerator, peak_memory_mb
from arcvit.engine.evaluate import Evaluation, evaluate
from arcvit.engine.features import head_features, only_head_learns
from arcvit.engine.groups import count, parameters_by_part
from arcvit.engine.loop import fit
from arcvit.engine.progress import TrainingDisplay
from arcvit.recipe.adapter import ADAPTER_FOLDER, adapter_size, save_adapter
from arcvit.recipe.parser import read_recipe, write_recipe
from arcvit.recipe.prepare import Workplace, decode, prepare
from arcvit.recipe.recipe import Recipe

RECIPE_FILE = "recipe.yaml"
METRICS_FILE = "metrics.jsonl"
CHECKPOINT_FOLDER = "checkpoint"
_LIBRARIES = ("torch", "timm", "peft", "accelerate")
_EVALUATION_BATCH = 256


def execute(recipe: Recipe, run: Path, console: Console, *, quiet: bool = False) -> RunResult:
    """Train by a recipe and write the run folder; resume an unfinished run of the same recipe.

    Args:
        recipe: what to do.
        run: the run folder; new, empty, or an unfinished run.
        console: where progress is shown.
        quiet: show nothing.

    Raises:
        UserError: anything wrong with recipe, data, backbone or run folder.
    """
    _check_run_folder(run, recipe)

    def say(line: str) -> None:
        if not quiet:
            console.print(line, highlight=False, soft_wrap=True)

    work = prepare(recipe, say)
    write_recipe(run / RECIPE_FILE, recipe)
    accelerator = make_accelerator(recipe.engine, run, recipe.seed)
    if recipe.engine.track:
        accelerator.init_trackers("arcvit", config=_flat(dataclasses.asdict(recipe)))
    work.model.to(accelerator.device)
    work.to_input.to(accelerator.device)
    params = _parameter_counts(work)
    say(
        f"{recipe.method} on {recipe.backbone}: {params['adapter']:,} adapter and"
        f" {params['head']:,} head parameters train, {accelerator.device} in"
        f" {'fp32' if accelerator.mixed_precision == 'no' else accelerator.mixed_precision}"
    )

    # A validation split that is trained on would measure memory.
    val = None
    if work.task.has("val") and recipe.data.fit_on == "train":
        val = decode(work.task.split("val"), work.prep, recipe.data)
    evaluation_seconds = 0.0

    def measure(model: nn.Module, images: Batches, to_input: Prepare) -> Evaluation:
        nonlocal evaluation_seconds
        start = time.perf_counter()
        outcome = evaluate(model, images, to_input, accelerator, batch_size=_EVALUATION_BATCH)
        evaluation_seconds += time.perf_counter() - start
        return outcome

    learner = _learner(work, val, accelerator)

    def validate(model: nn.Module) -> dict[str, float]:
        outcome = measure(model, learner.val, learner.evaluation_input)  # type: ignore[arg-type]
        return {"val_accuracy": outcome.accuracy, "val_loss": outcome.loss}

    def record(history: list[dict[str, Any]]) -> None:
        # Rewritten whole, so that a resumed run doesn't hold an epoch twice.
        lines = "".join(json.dumps(epoch) + "\n" for epoch in history)
        write_text(run / METRICS_FILE, lines)
        metrics = history[-1]
        accelerator.log(
            {k: v for k, v in metrics.items() if v is not None and k != "epoch"},
            step=metrics["epoch"],
        )

    display = TrainingDisplay(
        console,
        recipe.method,
        epochs=recipe.engine.epochs,
        steps=-(-len(learner.train) // recipe.engine.batch_size),
        quiet=quiet,
    )
    fitted = fit(
        learner.model,
        work.head,
        learner.train,
        learner.training_input,
        accelerator,
        optim=recipe.optim,
        engine=recipe.engine,
        display=display,
        checkpoint_folder=run / CHECKPOINT_FOLDER if recipe.engine.checkpoint_every else None,
        validate=validate if learner.val is not None else None,
        on_epoch=record,
    )
    skipped = len(work.train.skipped)
    test_accuracy = None
    if work.task.has("test"):
        test = decode(work.task.split("test"), work.prep, recipe.data)
        skipped += len(test.skipped)
        test_accuracy = measure(work.model, test, work.to_input.eval()).accuracy
    save_adapter(run / ADAPTER_FOLDER, work.model, work.card)
    result = RunResult(
        task=work.task.name,
        backbone=recipe.backbone,
        backbone_fingerprint=work.card.backbone_fingerprint,
        method=recipe.method,
        seed=recipe.seed,
        preset=recipe.data.preset,
        selection=f"fitted on {recipe.data.fit_on}, last epoch, test read once",
        classes=len(work.task.classes),
        train_images=len(work.train),
        skipped_images=skipped,
        params=params,
        val_accuracy=fitted.history[-1]["val_accuracy"],
        test_accuracy=test_accuracy,
        epochs=recipe.engine.epochs,
        seconds={"train": fitted.seconds, "eval": evaluation_seconds},
        images_per_second=fitted.images / fitted.seconds,
        peak_memory_mb=peak_memory_mb(accelerator.device),
        adapter_bytes=adapter_size(work.model, work.backbone.head),
        versions={name: version(name) for name in _LIBRARIES},
        arcvit_version=version("arcvit"),
    )
    if recipe.engine.track:
        accelerator.end_training()
    result.write(run)
    if not recipe.engine.keep_checkpoint:
        shutil.rmtree(run / CHECKPOINT_FOLDER, ignore_errors=True)
    return result


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Learner:
    """What the loop trains: the model on images, or its head alone on features."""

    model: nn.Module
    train: Batches
    training_input: Prepare
    val: Batches | None
    evaluation_input: Prepare


def _learner(work: Workplace, val: ImageBank | None, accelerator: Accelerator) -> _Learner:
    """The head alone on features computed once, where nothing else learns or changes."""
    augments = work.prep.random_crop or work.prep.flip
    if augments or not only_head_learns(work.model, work.head):
        return _Learner(
            model=work.model,
            train=work.train,
            training_input=_in_mode(work, training=True),
            val=val,
            evaluation_input=_in_mode(work, training=False),
        )

    def features(images: Batches) -> Batches:
        return head_features(
            work.model,
            work.head,
            images,
            work.to_input.eval(),
            accelerator,
            batch_size=_EVALUATION_BATCH,
        )

    return _Learner(
        model=work.head,
        train=features(work.train),
        training_input=lambda stored: stored,
        val=None if val is None else features(val),
        evaluation_input=lambda stored: stored,
    )


def _in_mode(work: Workplace, *, training: bool) -> Prepare:
    return lambda stored: work.to_input.train(training)(stored)


def _parameter_counts(work: Workplace) -> dict[str, int]:
    parts = parameters_by_part(work.model, work.head)
    head = count(parts.get("head", []))
    total = sum(count(parameters) for parameters in parts.values())
    return {"adapter": total - head, "head": head, "total": total}


def _check_run_folder(run: Path, recipe: Recipe) -> None:
    if is_finished(run):
        raise UserError(
            f"{str(run)!r} already holds a finished run: choose another --out or remove it."
        )
    if run.exists() and not run.is_dir():
        raise UserError(f"--out {str(run)!r} is a file: expected a folder or a new name.")
    if not run.is_dir() or not any(run.iterdir()):
        return
    if not (run / RECIPE_FILE).is_file():
        raise UserError(
            f"--out {str(run)!r} holds other files: expected a new folder or an unfinished run."
        )
    earlier = _flat(dataclasses.asdict(read_recipe(run / RECIPE_FILE)))
    now = _flat(dataclasses.asdict(recipe))
    differing = [key for key in now if now[key] != earlier.get(key)]
    if differing:
        raise UserError(
            f"{str(run)!r} holds an unfinished run of another recipe (it differs in"
            f" {', '.join(differing[:6])}): choose another --out, or the same settings to resume."
        )


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        elif isinstance(value, (int, float, str, bool)):
            flat[prefix + key] = value
        else:
            flat[prefix + key] = json.dumps(value)
    return flat

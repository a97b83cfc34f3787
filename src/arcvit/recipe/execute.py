"""Do what a recipe says: train, evaluate, and leave a complete run folder."""

import shutil
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelerate import Accelerator, DistributedType
from rich.console import Console
from torch import nn

from arcvit.core.errors import UserError
from arcvit.core.files import write_json
from arcvit.core.metrics import learned_nothing, write_metrics
from arcvit.core.result import RunResult
from arcvit.engine.batches import Batches, Prepare
from arcvit.engine.checkpoint import precision_of
from arcvit.engine.class_token import class_token_alone
from arcvit.engine.config import MemoryMode
from arcvit.engine.device import make_accelerator, peak_memory_mb
from arcvit.engine.evaluate import Evaluation, evaluate
from arcvit.engine.groups import count, parameters_by_part
from arcvit.engine.loop import Fit, fit
from arcvit.engine.memory import recomputing
from arcvit.engine.memory_choice import fastest_that_fits
from arcvit.engine.profile import Profile, describe
from arcvit.engine.progress import TrainingDisplay
from arcvit.engine.tracking import check_trackers, tracking
from arcvit.recipe.adapter import ADAPTER_FOLDER, adapter_size, save_adapter
from arcvit.recipe.learner import Learner, build_learner
from arcvit.recipe.parser import write_recipe
from arcvit.recipe.prepare import Workplace, prepare
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run_folder import (
    CHECKPOINT_FOLDER,
    PREDICTIONS_FILE,
    PROFILE_FILE,
    RECIPE_FILE,
    check_run_folder,
    clean_up,
    flat,
)

_LIBRARIES = ("torch", "timm", "peft", "accelerate")


def execute(
    recipe: Recipe,
    run: Path,
    console: Console,
    *,
    quiet: bool = False,
    read_test: bool = True,
    keep_predictions: bool = False,
) -> RunResult:
    """Train by a recipe and write the run folder; resume an unfinished run of the same recipe.

    Of several processes the main one writes and shows progress. Nothing is written before all is
    known to be right, and nothing stays of a run that ends before its first epoch.

    Args:
        recipe: what to do.
        run: the run folder; new, empty, or an unfinished run.
        console: where progress is shown.
        quiet: show nothing.
        read_test: measure on the test split after training; a search for settings must not.
        keep_predictions: leave the test split's predictions and labels in ``predictions.json``.

    Raises:
        UserError: anything wrong with recipe, data, backbone or run folder.
    """
    recipe = recipe.resolved()
    check_run_folder(run, recipe)
    check_trackers(recipe.engine.track)
    resumed = precision_of(run / CHECKPOINT_FOLDER)
    accelerator = make_accelerator(recipe.engine, recipe.seed, resumed=resumed)
    _refuse_sharded_projection(recipe, accelerator)
    profile = Profile(accelerator.device, enabled=recipe.engine.profile)
    writes = accelerator.is_main_process
    quiet = quiet or not writes

    def say(line: str) -> None:
        if not quiet:
            console.print(line, highlight=False, soft_wrap=True)

    work = prepare(recipe, say, read_test=read_test)
    work.model.to(accelerator.device)
    work.to_input.to(accelerator.device)
    work.training_input.to(accelerator.device)
    say(_opening(recipe, work, accelerator))
    accelerator.wait_for_everyone()
    if writes:
        clean_up(run)
        write_recipe(run / RECIPE_FILE, recipe)
    try:
        with (
            tracking(accelerator, recipe.engine.track, run, flat(recipe)),
            class_token_alone(work.model),
        ):
            profile.started()
            result, test = _train(
                recipe, work, run, accelerator, console, profile, say, quiet=quiet
            )
    except BaseException:
        if writes:
            clean_up(run)
        raise
    if writes:
        save_adapter(run / ADAPTER_FOLDER, work.model, work.card, result)
        if profile.enabled:
            record = profile.record()
            write_json(run / PROFILE_FILE, record)
            say(describe(record))
        if keep_predictions and test is not None and work.images.test is not None:
            pair = {"predictions": test.predictions, "labels": work.images.test.labels}
            write_json(run / PREDICTIONS_FILE, {name: v.tolist() for name, v in pair.items()})
        result.write(run)
        if not recipe.engine.keep_checkpoint:
            shutil.rmtree(run / CHECKPOINT_FOLDER, ignore_errors=True)
    accelerator.wait_for_everyone()
    return result


def _refuse_sharded_projection(recipe: Recipe, accelerator: Accelerator) -> None:
    """FSDP takes a block's parameters away after it; ARC's projection serves every block."""
    if accelerator.distributed_type == DistributedType.FSDP and recipe.method in ("arc", "arc_att"):
        raise UserError(
            f"{recipe.method} shares a projection between blocks, which FSDP can't shard: expected"
            " one process or plain data parallelism (accelerate launch --multi_gpu)."
        )


def _train(
    recipe: Recipe,
    work: Workplace,
    run: Path,
    accelerator: Accelerator,
    console: Console,
    profile: Profile,
    say: Callable[[str], None],
    *,
    quiet: bool,
) -> tuple[RunResult, Evaluation | None]:
    """Fit, validating on the way; then read the test split, once."""
    with profile("forward"):
        learner = build_learner(work, accelerator)
    clock = _Clock()

    def measure(model: nn.Module, images: Batches, to_input: Prepare) -> Evaluation:
        with clock:
            return evaluate(model, images, to_input, accelerator)

    def validate(model: nn.Module) -> dict[str, float]:
        assert learner.val is not None
        outcome = measure(model, learner.val, learner.evaluation_input)
        return {"val_accuracy": outcome.accuracy, "val_loss": outcome.loss}

    def record(history: list[dict[str, Any]]) -> None:
        if accelerator.is_main_process:
            write_metrics(run, history)
        epoch = history[-1]
        measured = {k: v for k, v in epoch.items() if v is not None and k != "epoch"}
        accelerator.log(measured, step=epoch["epoch"])

    display = TrainingDisplay(
        console,
        recipe.method,
        epochs=recipe.engine.epochs,
        steps=-(-len(learner.train) // (recipe.engine.batch_size * accelerator.num_processes)),
        quiet=quiet,
    )
    with recomputing(work.model, _memory_mode(recipe, learner, accelerator, say)):
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
            profile=profile,
        )
    complaint = learned_nothing(fitted.history, len(work.task.classes))
    if complaint is not None:
        say(f"warning: {recipe.method} {complaint}")
    test = None
    if work.images.test is not None:
        with profile("evaluation"):
            test = measure(work.model, work.images.test, work.to_input)
    accuracy = None if test is None else test.accuracy
    return _result(recipe, work, learner, fitted, accelerator, accuracy, clock.seconds), test


def _memory_mode(
    recipe: Recipe, learner: Learner, accelerator: Accelerator, say: Callable[[str], None]
) -> MemoryMode:
    """What was asked for; by default the fastest that fits a GPU, and fast elsewhere."""
    asked = recipe.engine.memory
    if asked != "auto":
        return asked
    if accelerator.device.type != "cuda":
        return "fast"
    found = fastest_that_fits(
        learner.model,
        learner.train,
        learner.training_input,
        accelerator,
        batch_size=recipe.engine.batch_size,
    )
    say(f"memory mode {found}: the fastest that fits {accelerator.device}")
    return found


def _result(
    recipe: Recipe,
    work: Workplace,
    learner: Learner,
    fitted: Fit,
    accelerator: Accelerator,
    test_accuracy: float | None,
    evaluation_seconds: float,
) -> RunResult:
    training_seconds = fitted.seconds + learner.seconds
    return RunResult(
        task=work.task.name,
        backbone=recipe.backbone,
        backbone_fingerprint=work.card.backbone_fingerprint,
        method=recipe.method,
        seed=recipe.seed,
        preset=recipe.data.preset,
        selection=f"fitted on {recipe.data.fit_on}, last epoch, "
        + ("test not read" if test_accuracy is None else "test read once"),
        classes=len(work.task.classes),
        train_images=len(work.images.train),
        skipped_images=work.images.skipped,
        params=_parameter_counts(work),
        val_accuracy=fitted.history[-1]["val_accuracy"],
        test_accuracy=test_accuracy,
        epochs=recipe.engine.epochs,
        seconds={"train": training_seconds, "eval": evaluation_seconds},
        images_per_second=fitted.images / training_seconds,
        peak_memory_mb=peak_memory_mb(accelerator.device),
        adapter_bytes=adapter_size(work.model, work.backbone.head),
        versions={name: version(name) for name in _LIBRARIES},
        arcvit_version=version("arcvit"),
    )


class _Clock:
    """Adds up the seconds spent inside it."""

    seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._start


def _opening(recipe: Recipe, work: Workplace, accelerator: Accelerator) -> str:
    params = _parameter_counts(work)
    precision = accelerator.mixed_precision
    return (
        f"{recipe.method} on {recipe.backbone}: {params['adapter']:,} adapter and"
        f" {params['head']:,} head parameters train, {accelerator.device} in"
        f" {'fp32' if precision == 'no' else precision}"
    )


def _parameter_counts(work: Workplace) -> dict[str, int]:
    parts = parameters_by_part(work.model, work.head)
    head = count(parts.get("head", []))
    total = sum(count(parameters) for parameters in parts.values())
    return {"adapter": total - head, "head": head, "total": total}

"""Do what a recipe says: train, evaluate, and leave a complete run folder."""

import dataclasses
import time
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import set_seed
from rich.console import Console

from arcvit.core.errors import UserError
from arcvit.core.files import write_json
from arcvit.core.launch import rank
from arcvit.core.lock import Lock, locked
from arcvit.core.metrics import learned_nothing, write_metrics
from arcvit.core.predictions import OUT_OF_FOLD_FILE, write_predictions
from arcvit.core.probabilities import write_probabilities
from arcvit.core.result import RunResult, read_result
from arcvit.core.waiting import waits_passively
from arcvit.engine.accumulation import rows_per_process
from arcvit.engine.checkpoint import Checkpoints
from arcvit.engine.class_token import class_token_alone
from arcvit.engine.clock import Clock, describe
from arcvit.engine.device import make_accelerator
from arcvit.engine.evaluate import Outcome, evaluate
from arcvit.engine.features import on_features
from arcvit.engine.groups import parameters_by_part
from arcvit.engine.loop import Record, Trainer
from arcvit.engine.memory import recomputing
from arcvit.engine.mode import check_modes
from arcvit.engine.progress import TrainingDisplay
from arcvit.engine.tracking import check_trackers, tracking
from arcvit.recipe.adapter import write_adapter
from arcvit.recipe.calibrate import Calibrated, calibrate, thresholds_of
from arcvit.recipe.first_values import start_from_images
from arcvit.recipe.look import look_for_all
from arcvit.recipe.out_of_fold import OutOfFold, cross_validate
from arcvit.recipe.outcome import parameter_counts, run_result
from arcvit.recipe.parser import write_recipe
from arcvit.recipe.predictions import predictions_of, probabilities_of
from arcvit.recipe.prepare import open_recipe_task, prepare
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.resume import known_task, settle_on, write_images
from arcvit.recipe.run import PROFILE_FILE, RECIPE_FILE, Run, flat
from arcvit.recipe.settle import memory_mode, runtime_of, within_time_limit
from arcvit.recipe.warm import start_from


def execute(run: Run, console: Console, *, quiet: bool = False, looked: bool = False) -> RunResult:
    """Train by a recipe and write the run folder; resume an unfinished run of the same recipe.

    Of several processes the main one writes and shows progress. Nothing is written before all is
    known to be right, and nothing stays of a run that ends before its first epoch.

    Args:
        run: what to do, and where to leave it.
        console: where progress is shown.
        quiet: show nothing.
        looked: the images have been looked through already.

    Raises:
        UserError: anything wrong with recipe, data, backbone or run folder.
    """
    if run.is_finished:
        run.tidy()
    run.check_free()
    check_trackers(run.recipe.engine.track)
    # Of several processes the first one locks for all.
    with locked(run.folder) if rank() == 0 else nullcontext() as lock:
        run.check_free()  # another process may just have finished it
        found = None
        if run.recipe.folds is not None:

            def fold(part: Run, first: bool) -> RunResult:
                if part.is_finished:
                    return read_result(part.folder)
                return execute(part, console, quiet=quiet, looked=looked or not first)

            found = cross_validate(run, fold, partial(_tell, console, quiet=quiet))
            looked = True
        execution = _Execution(
            run, console, quiet=quiet, looked=looked, lock=lock, out_of_fold=found
        )
        return execution.complete()


def _tell(console: Console, line: str, *, quiet: bool) -> None:
    """Say a line once for all processes."""
    if not quiet and rank() == 0:
        console.print(line, highlight=False, soft_wrap=True)


class _Execution:
    """A run on its way: images, model and device."""

    def __init__(
        self,
        run: Run,
        console: Console,
        *,
        quiet: bool,
        looked: bool,
        lock: Lock | None,
        out_of_fold: OutOfFold | None = None,
    ) -> None:
        recipe = run.recipe
        self.begun = time.monotonic()
        self.run = run
        self.lock = lock
        self.out_of_fold = out_of_fold
        self.checkpoints = Checkpoints(run.checkpoint)
        if out_of_fold is not None:
            self.checkpoints.settings["epochs"] = out_of_fold.epochs
        resumed = self.checkpoints.settings.get("precision")
        self.accelerator = make_accelerator(
            recipe.engine,
            recipe.seed,
            backbone=recipe.backbone,
            image_size=recipe.image_size,
            resumed=resumed,
        )
        check_modes(recipe.engine, self.accelerator)
        self.width = rows_per_process(recipe.engine.batch_size, self.accelerator.num_processes)
        _refuse_sharded_parameters(recipe, self.accelerator)
        self.console = console
        self.writes = self.accelerator.is_main_process
        self.quiet = quiet or not self.writes
        settle_on(self.checkpoints, self.accelerator, run, self.say)
        self.clock = Clock(self.accelerator.device, exact=recipe.engine.profile)
        task, self.contents, same = known_task(run, open_recipe_task(recipe), self.say)
        if not looked and not same:
            look_for_all(recipe, self.accelerator, self.say)
        self.work = prepare(recipe, task, self.say, read_test=run.read_test)
        if recipe.init_from is not None and self.checkpoints.newest is None:
            start_from(recipe.init_from, self.work, recipe, self.say)
        if self.accelerator.num_processes > 1:
            # All have the same model by now; what is dropped and how images turn differs.
            set_seed(recipe.seed, device_specific=True)
        self.work.to(self.accelerator.device)
        if recipe.init_from is None and self.checkpoints.newest is None:
            start_from_images(self.work, recipe, self.accelerator)
        self.params = parameter_counts(
            self.work.model, parameters_by_part(self.work.model, self.work.head)
        )
        self.calibrated = Calibrated()
        self.thresholds: np.ndarray | None = None
        self.say(self._opening())

    def say(self, line: str) -> None:
        """Tell the user what is going on; of further folds only what is new."""
        again = self.run.is_fold and self.run.recipe.data.fold > 0
        if not self.quiet and (not again or line.startswith("warning")):
            self.console.print(line, highlight=False, soft_wrap=True)

    def complete(self) -> RunResult:
        """Train and measure; the folder is complete afterwards, or nothing new stays in it."""
        run, recipe = self.run, self.run.recipe
        self.accelerator.wait_for_everyone()
        if self.writes:
            run.clean_up()
            write_recipe(run.folder / RECIPE_FILE, recipe)
            write_images(run, self.contents)
        try:
            with (
                tracking(self.accelerator, recipe.engine.track, run.folder, flat(recipe)),
                class_token_alone(self.work.model),
            ):
                self.clock.started()
                result, outcomes = self._train_and_measure()
        except BaseException:
            if self.writes:
                run.clean_up()
            raise
        if self.writes:
            self._write(result, outcomes)
        self.accelerator.wait_for_everyone()
        return result

    def _train_and_measure(self) -> tuple[RunResult, dict[str, Outcome]]:
        """Fit, validating on the way; then read the test split, once."""
        run, work = self.run, self.work
        recipe, learner = run.recipe, work.learner
        if not (work.training_prep.random_crop or work.training_prep.flip):
            learner = on_features(learner, self.accelerator)
            self.clock.lap("features")
        accelerator, checkpoints, say = self.accelerator, self.checkpoints, self.say
        memory = memory_mode(recipe.engine, learner, accelerator, width=self.width, say=say)
        engine = within_time_limit(
            recipe,
            learner,
            accelerator,
            checkpoints,
            recomputed=recomputing(work.model, memory),
            width=self.width,
            whole=work.learner,
            images_after=len(work.images.test or ()),
            elapsed=time.monotonic() - self.begun,
            say=say,
        )
        runtime = runtime_of(engine, learner, accelerator, checkpoints, memory=memory, say=say)
        with recomputing(work.model, memory), runtime.running():
            trainer = Trainer(
                learner,
                self.accelerator,
                optim=recipe.optim,
                engine=engine,
                parts=recipe.spec.parts,
                checkpoints=self.checkpoints if engine.checkpoint_every else None,
                clock=self.clock,
                runtime=runtime,
            )
            display = TrainingDisplay(
                self.console,
                self._label(),
                epochs=engine.epochs,
                steps=trainer.batches,
                quiet=self.quiet,
            )
            trainer.on_step.append(display.step)
            trainer.on_epoch += [display.epoch, self._record]
            with display:
                trainer.fit()
            outcomes = {} if trainer.validation is None else {"val": trainer.validation}
            if work.images.test is not None:
                self.clock.start()
                outcomes["test"] = evaluate(
                    work.model,
                    work.images.test,
                    work.to_input,
                    self.accelerator,
                    keep_probabilities=True,
                    runtime=runtime,
                )
                self.clock.lap("evaluation", 1)
        if run.read_test or run.is_fold:  # a search throws its models away
            held_out = None if self.out_of_fold is None else self.out_of_fold.held_out
            self.calibrated = calibrate(work, learner, self.accelerator, out_of_fold=held_out)
            self.clock.lap("evaluation")
        self.thresholds = thresholds_of(outcomes, self.calibrated.temperature)
        result = run_result(
            recipe,
            work,
            params=self.params,
            history=trainer.history,
            outcomes=outcomes,
            temperature=self.calibrated.temperature,
            thresholds=self.thresholds,
            clock=self.clock,
            device=self.accelerator.device,
        )
        complaint = learned_nothing(trainer.history, result.guessing_loss)
        if complaint is not None:
            self.say(f"warning: {recipe.method} {complaint}")
        if self.out_of_fold is not None and recipe.folds is not None:
            record = self.out_of_fold.record(work.adapter_task.labels, recipe.folds)
            seconds = {**result.seconds, "folds": self.out_of_fold.seconds}
            result = dataclasses.replace(result, out_of_fold=record, seconds=seconds)
        return result, outcomes

    def _record(self, history: list[Record]) -> None:
        """Leave an epoch's figures in the folder and with the trackers."""
        if self.lock is not None:
            self.lock.check()
        if self.writes:
            write_metrics(self.run.folder, history)
        epoch = history[-1]
        measured = {k: v for k, v in epoch.items() if v is not None and k != "epoch"}
        self.accelerator.log(measured, step=epoch["epoch"])

    def _write(self, result: RunResult, outcomes: Mapping[str, Outcome]) -> None:
        """Everything a finished run holds; the result comes last."""
        run, work = self.run, self.work
        if self.lock is not None:
            self.lock.check()
        named = ("task", "method", "val_accuracy", "test_accuracy", "metrics")
        results = {name: getattr(result, name) for name in named}
        if result.out_of_fold is not None:
            results["metrics"] = {**result.metrics, "out_of_fold": result.out_of_fold}
        calibrated = self.calibrated
        task = dataclasses.replace(
            work.adapter_task,
            results=results,
            thresholds=None if self.thresholds is None else self.thresholds.tolist(),
            calibration=calibrated.calibration,
        )
        write_adapter(run.adapter, work.model, task, calibrated.means)
        if run.recipe.engine.profile:
            record = {**self.clock.profile(), "decoding": work.decoding}
            write_json(run.folder / PROFILE_FILE, record)
            self.say(describe(record))
        predictions = predictions_of(
            outcomes,
            work.images,
            work.task,
            self.contents,
            temperature=calibrated.temperature,
            thresholds=self.thresholds,
        )
        write_predictions(run.folder, predictions)
        probabilities = probabilities_of(outcomes, calibrated.temperature)
        if probabilities:
            write_probabilities(run.folder, probabilities)
        if self.out_of_fold is not None:
            write_predictions(run.folder, self.out_of_fold.images, name=OUT_OF_FOLD_FILE)
        if run.is_fold and calibrated.held_out is not None:
            calibrated.held_out.write(run.held_out)
        result.write(run.folder)
        run.tidy()

    def _label(self) -> str:
        data = self.run.recipe.data
        fold = f" fold {data.fold + 1} of {data.folds}" if self.run.is_fold else ""
        return f"{self.run.recipe.method}{fold}"

    def _opening(self) -> str:
        recipe, precision = self.run.recipe, self.accelerator.mixed_precision
        several = self.accelerator.device.type == "cpu" and torch.get_num_threads() > 1
        sleeping = ", idle threads sleep (OMP_WAIT_POLICY=ACTIVE: they spin)"
        return (
            f"{recipe.method} on {recipe.backbone}: {self.params['adapter']:,} adapter and"
            f" {self.params['head']:,} head parameters train, {self.accelerator.device} in"
            f" {'fp32' if precision == 'no' else precision}"
            f"{sleeping if several and waits_passively() else ''}"
        )


def _refuse_sharded_parameters(recipe: Recipe, accelerator: Accelerator) -> None:
    """FSDP takes a block's parameters away after it; ARC's projection serves every block."""
    if accelerator.distributed_type == DistributedType.FSDP and recipe.spec.shares_parameters:
        raise UserError(
            f"{recipe.method} shares parameters between blocks, which FSDP can't shard: expected"
            " one process or plain data parallelism (accelerate launch --multi_gpu)."
        )

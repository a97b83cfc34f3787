"""The training loop: AdamW, warm-up and cosine per step, the last epoch counts."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR

from arcvit.core.errors import UserError
from arcvit.core.metric import METRICS
from arcvit.engine.accumulation import batch_shares, batch_sizes, own_rows, rows_per_process
from arcvit.engine.average import WeightAverage
from arcvit.engine.batches import inputs, loader
from arcvit.engine.captured import CapturedStep
from arcvit.engine.checkpoint import Checkpoints
from arcvit.engine.clock import FORWARD_SHARE, Clock
from arcvit.engine.config import EngineConfig, OptimConfig
from arcvit.engine.evaluate import Outcome, evaluate
from arcvit.engine.groups import optimizer_groups
from arcvit.engine.learner import Learner
from arcvit.engine.runtime import Runtime
from arcvit.engine.schedule import share_of_peak
from arcvit.engine.step import AcceleratedStep
from arcvit.methods.spec import Part

Record = dict[str, Any]
"""What an epoch came to, as a line of metrics.jsonl."""


class NonFiniteLoss(UserError):
    """The loss or what is trained became NaN or infinite."""


class Trainer:
    """Trains what is trainable in a model.

    Args:
        learner: the model, on the accelerator's device, and its images.
        accelerator: device, precision, accumulation, processes.
        optim: optimizer and schedule.
        engine: epochs, batch size, label smoothing, intervals.
        parts: the method's parts, which have learning rates of their own.
        checkpoints: where to save to and to resume from; None: neither.
        clock: the run's clock; None: a new one.
        runtime: executes the steps, within its context; None: as PyTorch runs them.

    Attributes:
        history: the record of each epoch done.
        validation: what the last epoch's validation came to, once it is over.
        clock: seconds spent by part, and the time left.
        on_step: called after a batch with the number of batches done and the seconds left.
        on_epoch: called after an epoch, and when resuming, with the records of all so far.
    """

    def __init__(
        self,
        learner: Learner,
        accelerator: Accelerator,
        *,
        optim: OptimConfig,
        engine: EngineConfig,
        parts: Sequence[Part] = (),
        checkpoints: Checkpoints | None = None,
        clock: Clock | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.history: list[Record] = []
        self.validation: Outcome | None = None
        self.on_step: list[Callable[[int, float], None]] = []
        self.on_epoch: list[Callable[[list[Record]], None]] = []
        self._learner = learner
        weights = learner.class_weights
        self._class_weights = None if weights is None else weights.to(accelerator.device)
        self._accelerator = accelerator
        self._optim = optim
        self._engine = engine
        self.clock = clock or Clock()
        self._runtime = runtime or Runtime(learner.model)
        self._run: AcceleratedStep | CapturedStep | None = None
        cuda = accelerator.device.type == "cuda"
        processes = accelerator.num_processes
        width = rows_per_process(engine.batch_size, processes)
        data = loader(learner.train, engine.batch_size, shuffle=True, pin=cuda)
        optimizer = torch.optim.AdamW(
            optimizer_groups(learner.model, learner.head, optim, parts),
            weight_decay=optim.weight_decay,
            fused=True,
        )
        self._model, self._optimizer, self._data = accelerator.prepare(
            learner.model, optimizer, data
        )
        if isinstance(self._model, DistributedDataParallel):
            # It sends them in every step, but only batch norm changes any: Swin's indices outweigh
            # an adapter.
            self._model.broadcast_buffers = any(
                isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self._model.modules()
            )
        steps = math.ceil(len(self._data) / engine.accumulate) * engine.epochs
        share = partial(share_of_peak, warmup=round(optim.warmup * steps), steps=steps)
        self._schedule = accelerator.prepare(LambdaLR(optimizer, share))
        trained = [p for p in learner.model.parameters() if p.requires_grad]
        self._average = WeightAverage(trained, share=optim.average, steps=steps)
        if optim.average:
            accelerator.register_for_checkpointing(self._average)
        sizes = batch_sizes(len(learner.train), engine.batch_size)
        self._rows = own_rows(sizes, width, accelerator.process_index)
        self._shares = batch_shares(sizes, engine.accumulate, rows=self._rows, processes=processes)
        self._plan()
        self._checkpoints = checkpoints
        if checkpoints is not None:
            checkpoints.attach(accelerator, learner.model)
            if checkpoints.newest is not None:
                self._resume(checkpoints)

    @property
    def batches(self) -> int:
        """Batches of an epoch; each process has a part of every one."""
        return len(self._data)

    def fit(self) -> list[Record]:
        """Train the epochs that are left, telling and saving after each.

        Raises:
            NonFiniteLoss: names the step; the checkpoint of the last good epoch stays.
        """
        if self.history:
            self._tell()
        while len(self.history) < self._engine.epochs:
            self.history.append(self.epoch())
            if self._checkpoints is not None and self._engine.is_due(
                len(self.history), self._engine.checkpoint_every
            ):
                self._checkpoints.settings["compile"] = self._runtime.mode
                self._checkpoints.save(self.history)
                self.clock.lap("checkpoint", 1)
            self._tell()
        if self._learner.val is not None and self.validation is None:
            self.clock.start()
            self._validate(last=True)  # a resumed run had no epoch left
        return self.history

    def epoch(self) -> Record:
        """One pass over the training images, and over the validation split where it is due."""
        self.clock.start()
        number = len(self.history) + 1
        before = self.clock.seconds("train")
        losses, correct = self._pass(number)
        images, single = len(self._learner.train), self._learner.kind == "single"
        # Reading them waits for the device: only then is the time of the epoch known.
        loss, hits = self._mean(losses, number), self._total(correct)
        self.clock.lap("optimizer" if self._run is None else self._run.part)
        seconds = self.clock.seconds("train") - before
        record: Record = {
            "epoch": number,
            "train_loss": loss,
            f"train_{'accuracy' if single else 'exact_match'}": hits / images,
            "lr": float(self._schedule.get_last_lr()[0]),
            "images": images,
            "seconds": seconds,
            "images_per_second": images / seconds,
            **{f"val_{name}": None for name in METRICS[self._learner.kind]},
            "val_loss": None,
            "val_seconds": None,
        }
        with self._average.in_place():
            if self._learner.val is not None and self._engine.is_due(
                number, self._engine.validation_interval
            ):
                record.update(self._validate(last=number == self._engine.epochs))
        self._refuse_broken_state(record)
        record["seconds_left"] = self.clock.left()
        return record

    def _pass(self, number: int) -> tuple[list[Tensor], list[Tensor]]:
        """Losses and hits of each batch, on the device: to read one would make the host wait."""
        self._data.set_epoch(number)
        self._model.train()
        losses, correct = [], []
        batches = inputs(self._data, self._learner.training_input, self._accelerator.device)
        for batch, (pixels, labels) in enumerate(batches):
            self.clock.lap("data")
            run = self._run if batch else self._begin(pixels, labels)
            assert run is not None
            done = batch + 1
            last = done % self._engine.accumulate == 0 or done == len(self._data)
            # Without an image of its own it takes part with a share of 0: the others wait for it.
            taken = max(self._rows[batch], 1)
            loss, hits = run(pixels[:taken], labels[:taken], self._shares[batch], last=last)
            losses.append(loss)
            correct.append(hits)
            if last:
                self._schedule.step()
                self._average.step()
            self.clock.lap(run.part, 1)
            for tell in self.on_step:
                tell((number - 1) * len(self._data) + done, self.clock.left())
        return losses, correct

    def _begin(self, pixels: Tensor, labels: Tensor) -> AcceleratedStep | CapturedStep:
        """The step that an epoch takes: a new one where the model isn't what it was made for."""
        if self._run is None or not self._run.is_current():
            step = AcceleratedStep(
                model=self._model,
                optimizer=self._optimizer,
                clip_grad=self._optim.clip_grad,
                label_smoothing=self._engine.label_smoothing,
                class_weights=self._class_weights,
                autocast=self._accelerator.autocast,
                lap=self.clock.lap,
                accelerator=self._accelerator,
            )
            self._run = self._runtime.begin(
                step, pixels, labels, accumulate=self._engine.accumulate
            )
        return self._run

    def _validate(self, *, last: bool) -> Record:
        assert self._learner.val is not None
        before = self.clock.seconds("evaluation")
        outcome = evaluate(
            self._model,
            self._learner.val,
            self._learner.evaluation_input,
            self._accelerator,
            keep_probabilities=last,
            runtime=self._runtime,
        )
        if last:
            self.validation = outcome
        self.clock.lap("evaluation", 1)
        return {
            **{f"val_{name}": value for name, value in outcome.metrics().items()},
            "val_loss": outcome.loss,
            "val_seconds": self.clock.seconds("evaluation") - before,
        }

    def _tell(self) -> None:
        for tell in self.on_epoch:
            tell(self.history)

    def _plan(self) -> None:
        """Tell the clock how often each kind of work is done in the run."""
        engine, val = self._engine, self._learner.val

        def times(every: int) -> int:
            return sum(engine.is_due(epoch, every) for epoch in range(1, engine.epochs + 1))

        batches = 0 if val is None else len(val) / engine.batch_size
        self.clock.plan(
            {
                "train": len(self._data) * engine.epochs,
                "evaluation": 0 if val is None else times(engine.validation_interval),
                "checkpoint": times(engine.checkpoint_every),
            },
            worth={"evaluation": FORWARD_SHARE * batches},
        )

    def _resume(self, checkpoints: Checkpoints) -> None:
        self.history = checkpoints.load()
        for record in self.history:
            self.clock.resume("train", record["seconds"], len(self._data))
            if record["val_seconds"] is not None:
                self.clock.resume("evaluation", record["val_seconds"], 1)

    def _mean(self, losses: list[Tensor], epoch: int) -> float:
        """Mean over the images of an epoch, of all processes."""
        own = torch.stack(losses)
        every = self._accelerator.reduce(own * own.new_tensor(self._rows), reduction="sum")
        finite = torch.isfinite(every)
        if not bool(finite.all()):
            step = int((~finite).nonzero()[0].item()) + 1
            value = every[step - 1].item()
            raise self._non_finite(f"the loss became {value} at step {step} of epoch {epoch}")
        return float((every.sum() / len(self._learner.train)).item())

    def _total(self, counts: list[Tensor]) -> int:
        own = torch.stack(counts) * counts[0].new_tensor(self._rows).clamp(max=1)
        return int(self._accelerator.reduce(own, reduction="sum").sum().item())

    def _refuse_broken_state(self, record: Record) -> None:
        """The last step of an epoch can break what is trained after its loss was read."""
        trained = [p for p in self._learner.model.parameters() if p.requires_grad]
        if not bool(torch.stack([torch.isfinite(p).all() for p in trained]).all()):
            raise self._non_finite(
                f"what is trained became infinite in the last step of epoch {record['epoch']}"
            )
        if record["val_loss"] is not None and not math.isfinite(record["val_loss"]):
            raise self._non_finite(
                f"the validation loss became {record['val_loss']} after epoch {record['epoch']}"
            )

    def _non_finite(self, what: str) -> NonFiniteLoss:
        kept = (
            f"the state after the last good epoch is in {self._checkpoints.newest}"
            if self._checkpoints is not None and self._checkpoints.newest is not None
            else "there is no earlier state"
        )
        return NonFiniteLoss(
            f"{what}: training stopped; {kept}. Try a lower --optim.lr, or --engine.precision fp32."
        )

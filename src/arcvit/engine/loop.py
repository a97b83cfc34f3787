"""The training loop: AdamW, warm-up and cosine per step, the last epoch counts."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from arcvit.arc.prepared import fused_sites, prepared
from arcvit.core.errors import UserError
from arcvit.engine.accumulation import batch_sizes, batch_weights
from arcvit.engine.batches import loader
from arcvit.engine.checkpoint import Checkpoints
from arcvit.engine.clock import FORWARD_SHARE, Clock
from arcvit.engine.config import EngineConfig, OptimConfig
from arcvit.engine.evaluate import evaluate
from arcvit.engine.groups import optimizer_groups
from arcvit.engine.learner import Learner
from arcvit.engine.schedule import share_of_peak
from arcvit.methods.spec import Part

VALIDATIONS = 10
"""Validations of a run, about: the last epoch counts, and more would only take time."""

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

    Attributes:
        history: the record of each epoch done.
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
    ) -> None:
        self.history: list[Record] = []
        self.on_step: list[Callable[[int, float], None]] = []
        self.on_epoch: list[Callable[[list[Record]], None]] = []
        self._learner = learner
        self._accelerator = accelerator
        self._optim = optim
        self._engine = engine
        self.clock = clock or Clock()
        cuda = accelerator.device.type == "cuda"
        data = loader(learner.train, engine.batch_size, shuffle=True, pin=cuda)
        optimizer = torch.optim.AdamW(
            optimizer_groups(learner.model, learner.head, optim, parts),
            weight_decay=optim.weight_decay,
            fused=True,
        )
        self._model, self._optimizer, self._data = accelerator.prepare(
            learner.model, optimizer, data
        )
        steps = math.ceil(len(self._data) / engine.accumulate) * engine.epochs
        share = partial(share_of_peak, warmup=round(optim.warmup * steps), steps=steps)
        self._schedule = accelerator.prepare(LambdaLR(self._optimizer, share))
        self._sizes = batch_sizes(
            len(learner.train),
            engine.batch_size,
            batches=len(self._data),
            processes=accelerator.num_processes,
        )
        self._weights = batch_weights(self._sizes, engine.accumulate)
        every = engine.validate_every
        self._validate_every = max(1, engine.epochs // VALIDATIONS) if every is None else every
        self._plan()
        self._checkpoints = checkpoints
        if checkpoints is not None:
            checkpoints.attach(accelerator, learner.model)
            if checkpoints.newest is not None:
                self._resume(checkpoints)

    @property
    def batches(self) -> int:
        """Batches of an epoch on this process."""
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
            if self._checkpoints is not None and self._is_due(
                len(self.history), self._engine.checkpoint_every
            ):
                self._checkpoints.save(self.history)
                self.clock.lap("checkpoint", 1)
            self._tell()
        return self.history

    def epoch(self) -> Record:
        """One pass over the training images, and over the validation split where it is due."""
        self.clock.start()
        number = len(self.history) + 1
        before = self.clock.seconds("train")
        losses, correct = self._pass(number)
        images = len(self._learner.train)
        # Reading them waits for the device: only then is the time of the epoch known.
        loss, hits = self._mean(losses, number), self._total(correct)
        self.clock.lap("optimizer")
        seconds = self.clock.seconds("train") - before
        record: Record = {
            "epoch": number,
            "train_loss": loss,
            "train_accuracy": hits / images,
            "lr": self._schedule.get_last_lr()[0],
            "images": images,
            "seconds": seconds,
            "images_per_second": images / seconds,
            "val_accuracy": None,
            "val_balanced_accuracy": None,
            "val_loss": None,
            "val_seconds": None,
        }
        if self._learner.val is not None and self._is_due(number, self._validate_every):
            record.update(self._validate())
        self._refuse_broken_state(record)
        record["seconds_left"] = self.clock.left()
        return record

    def _pass(self, number: int) -> tuple[list[Tensor], list[Tensor]]:
        """Losses and hits of each batch, on the device: to read one would make the host wait."""
        clock, accelerator, optimizer = self.clock, self._accelerator, self._optimizer
        self._data.set_epoch(number)
        self._model.train()
        sites = fused_sites(self._learner.model)
        losses, correct = [], []
        for batch, (stored, labels) in enumerate(self._data):
            with accelerator.accumulate(self._model):
                pixels = self._learner.training_input(stored)
                clock.lap("data")
                with prepared(sites, pixels, autocast=accelerator.autocast):
                    with accelerator.autocast():
                        logits = self._model(pixels)
                    loss = F.cross_entropy(
                        logits.float(), labels, label_smoothing=self._engine.label_smoothing
                    )
                    losses.append(loss.detach())
                    correct.append((logits.detach().argmax(-1) == labels).sum())
                    clock.lap("forward")
                    accelerator.backward(loss * self._weights[batch])
                    clock.lap("backward")
                if accelerator.sync_gradients and self._optim.clip_grad:
                    accelerator.clip_grad_norm_(self._model.parameters(), self._optim.clip_grad)
                optimizer.step()
                if accelerator.sync_gradients:
                    self._schedule.step()
                optimizer.zero_grad()
                clock.lap("optimizer", 1)
            for tell in self.on_step:
                tell((number - 1) * len(self._data) + batch + 1, clock.left())
        return losses, correct

    def _validate(self) -> Record:
        assert self._learner.val is not None
        before = self.clock.seconds("evaluation")
        outcome = evaluate(
            self._model, self._learner.val, self._learner.evaluation_input, self._accelerator
        )
        self.clock.lap("evaluation", 1)
        return {
            "val_accuracy": outcome.accuracy,
            "val_balanced_accuracy": outcome.balanced_accuracy,
            "val_loss": outcome.loss,
            "val_seconds": self.clock.seconds("evaluation") - before,
        }

    def _is_due(self, epoch: int, every: int) -> bool:
        return epoch == self._engine.epochs or (every > 0 and epoch % every == 0)

    def _tell(self) -> None:
        for tell in self.on_epoch:
            tell(self.history)

    def _plan(self) -> None:
        """Tell the clock how often each kind of work is done in the run."""
        engine, val = self._engine, self._learner.val

        def times(every: int) -> int:
            return sum(self._is_due(epoch, every) for epoch in range(1, engine.epochs + 1))

        batches = 0 if val is None else len(val) / engine.batch_size
        self.clock.plan(
            {
                "train": len(self._data) * engine.epochs,
                "evaluation": 0 if val is None else times(self._validate_every),
                "checkpoint": times(engine.checkpoint_every),
            },
            worth={"evaluation": FORWARD_SHARE * batches / self._accelerator.num_processes},
        )

    def _resume(self, checkpoints: Checkpoints) -> None:
        self.history = checkpoints.load()
        for record in self.history:
            self.clock.resume("train", record["seconds"], len(self._data))
            if record["val_seconds"] is not None:
                self.clock.resume("evaluation", record["val_seconds"], 1)

    def _mean(self, losses: list[Tensor], epoch: int) -> float:
        """Mean over the images of an epoch of the mean losses of its batches."""
        every = self._accelerator.reduce(torch.stack(losses), reduction="mean")
        finite = torch.isfinite(every)
        if not bool(finite.all()):
            step = int((~finite).nonzero()[0].item()) + 1
            value = every[step - 1].item()
            raise self._non_finite(f"the loss became {value} at step {step} of epoch {epoch}")
        weights = every.new_tensor(self._sizes)
        return float(((every * weights).sum() / weights.sum()).item())

    def _total(self, counts: list[Tensor]) -> int:
        return int(self._accelerator.reduce(torch.stack(counts), reduction="sum").sum().item())

    def _refuse_broken_state(self, record: Record) -> None:
        """The last step of an epoch can break what is trained after its loss was read."""
        trained = [p for p in self._learner.model.parameters() if p.requires_grad]
        if not all(bool(torch.isfinite(p).all()) for p in trained):
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

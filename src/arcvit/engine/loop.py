"""The training loop: AdamW, warm-up and cosine per step, the last epoch counts."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from arcvit.core.errors import UserError
from arcvit.engine.accumulation import batch_sizes, batch_weights
from arcvit.engine.batches import Batches, Prepare, loader
from arcvit.engine.checkpoint import Checkpoint
from arcvit.engine.config import EngineConfig, OptimConfig
from arcvit.engine.groups import optimizer_groups
from arcvit.engine.profile import Profile
from arcvit.engine.progress import TrainingDisplay
from arcvit.engine.schedule import share_of_peak

VALIDATIONS = 10
"""Validations of a run, about: the last epoch counts, and more would only take time."""

EpochEnd = Callable[[list[dict[str, Any]]], None]
"""Called after an epoch, and when resuming, with the records of all epochs so far."""


class NonFiniteLoss(UserError):
    """The loss or what is trained became NaN or infinite."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What training took.

    Attributes:
        history: one record an epoch.
        seconds: time spent in the epochs, validation left out, resumed epochs included.
        images: images seen in them.
    """

    history: list[dict[str, Any]]
    seconds: float
    images: int


def fit(
    model: nn.Module,
    head: nn.Module,
    train: Batches,
    prepare: Prepare,
    accelerator: Accelerator,
    *,
    optim: OptimConfig,
    engine: EngineConfig,
    display: TrainingDisplay,
    checkpoint_folder: Path | None = None,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    on_epoch: EpochEnd | None = None,
    profile: Profile | None = None,
) -> Fit:
    """Train what is trainable in a model.

    Args:
        model: the adapted model, on the accelerator's device.
        head: its head (a group of its own in the optimizer).
        train: training images as stored, and labels.
        prepare: turns a stored batch on the device into the model's input.
        accelerator: device, precision, accumulation, processes.
        optim: optimizer and schedule.
        engine: epochs, batch size, label smoothing, intervals.
        display: where progress is shown.
        checkpoint_folder: where to save and resume; None: neither.
        validate: gives ``val_accuracy`` and ``val_loss`` of the model.
        on_epoch: gets the records so far, as in metrics.jsonl.
        profile: adds up where the time goes.

    Raises:
        NonFiniteLoss: names the step; the checkpoint of the last good epoch stays.
    """
    profile = profile or Profile.off()
    data = loader(train, engine.batch_size, shuffle=True, pin=accelerator.device.type == "cuda")
    optimizer = torch.optim.AdamW(
        optimizer_groups(model, head, optim), weight_decay=optim.weight_decay, fused=True
    )
    plain_model = model
    model, optimizer, data = accelerator.prepare(model, optimizer, data)
    steps_per_epoch = math.ceil(len(data) / engine.accumulate)
    steps = steps_per_epoch * engine.epochs
    share = partial(share_of_peak, warmup=round(optim.warmup * steps), steps=steps)
    schedule = accelerator.prepare(LambdaLR(optimizer, share))
    history: list[dict[str, Any]] = []
    checkpoint = None
    if checkpoint_folder is not None:
        checkpoint = Checkpoint(checkpoint_folder, accelerator, plain_model)
        if checkpoint.exists():
            history = checkpoint.load()
            if on_epoch is not None:
                on_epoch(history)
    sizes = batch_sizes(
        len(train), engine.batch_size, batches=len(data), processes=accelerator.num_processes
    )
    weights = batch_weights(sizes, engine.accumulate)
    validate_every = engine.validate_every
    if validate_every is None:
        validate_every = max(1, engine.epochs // VALIDATIONS)

    with display:
        for epoch in range(len(history) + 1, engine.epochs + 1):
            start = time.perf_counter()
            data.set_epoch(epoch)
            model.train()
            losses, correct = [], []
            for batch, (stored, labels) in enumerate(profile.waiting_for(data)):
                with accelerator.accumulate(model):
                    with profile("data"):
                        pixels = prepare(stored)
                    with profile("forward"):
                        with accelerator.autocast():
                            logits = model(pixels)
                        loss = F.cross_entropy(
                            logits.float(), labels, label_smoothing=engine.label_smoothing
                        )
                    with profile("backward"):
                        accelerator.backward(loss * weights[batch])
                    with profile("optimizer"):
                        if accelerator.sync_gradients and optim.clip_grad:
                            accelerator.clip_grad_norm_(model.parameters(), optim.clip_grad)
                        optimizer.step()
                        if accelerator.sync_gradients:
                            schedule.step()
                        optimizer.zero_grad()
                # Kept on the device: reading a value here would make the host wait for it.
                losses.append(loss.detach())
                correct.append((logits.detach().argmax(-1) == labels).sum())
                display.step((epoch - 1) * len(data) + batch + 1)
            all_losses = accelerator.reduce(torch.stack(losses), reduction="mean")
            _refuse_non_finite(all_losses, epoch, checkpoint)
            seconds = time.perf_counter() - start
            record: dict[str, Any] = {
                "epoch": epoch,
                "train_loss": _mean(all_losses, sizes),
                "train_accuracy": _total_correct(accelerator, correct) / len(train),
                "lr": schedule.get_last_lr()[0],
                "images": len(train),
                "seconds": seconds,
                "images_per_second": len(train) / seconds,
                "val_accuracy": None,
                "val_loss": None,
            }
            last = epoch == engine.epochs
            due = validate_every and epoch % validate_every == 0
            if validate is not None and (due or last):
                with profile("evaluation"):
                    record.update(validate(model))
            _refuse_broken_state(plain_model, record, checkpoint)
            history.append(record)
            mean_seconds = (time.perf_counter() - start + _total(history[:-1])) / len(history)
            record["seconds_left"] = mean_seconds * (engine.epochs - epoch)
            due = engine.checkpoint_every and epoch % engine.checkpoint_every == 0
            if checkpoint is not None and (due or last):
                checkpoint.save(history)
            display.epoch(record)
            if on_epoch is not None:
                on_epoch(history)
    return Fit(history=history, seconds=_total(history), images=sum(r["images"] for r in history))


def _mean(losses: Tensor, sizes: list[int]) -> float:
    """Mean over the images of an epoch of the mean losses of its batches."""
    weights = losses.new_tensor(sizes)
    return float(((losses * weights).sum() / weights.sum()).item())


def _total(history: list[dict[str, Any]]) -> float:
    return float(sum(r["seconds"] for r in history))


def _total_correct(accelerator: Accelerator, counts: list[Tensor]) -> int:
    return int(accelerator.reduce(torch.stack(counts), reduction="sum").sum().item())


def _refuse_non_finite(losses: Tensor, epoch: int, checkpoint: Checkpoint | None) -> None:
    finite = torch.isfinite(losses)
    if bool(finite.all()):
        return
    step = int((~finite).nonzero()[0].item()) + 1
    value = losses[step - 1].item()
    raise _non_finite(f"the loss became {value} at step {step} of epoch {epoch}", checkpoint)


def _refuse_broken_state(
    model: nn.Module, record: dict[str, Any], checkpoint: Checkpoint | None
) -> None:
    """The last step of an epoch can break what is trained after its loss was read."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if not all(bool(torch.isfinite(p).all()) for p in trained):
        what = f"what is trained became infinite in the last step of epoch {record['epoch']}"
        raise _non_finite(what, checkpoint)
    if record["val_loss"] is not None and not math.isfinite(record["val_loss"]):
        what = f"the validation loss became {record['val_loss']} after epoch {record['epoch']}"
        raise _non_finite(what, checkpoint)


def _non_finite(what: str, checkpoint: Checkpoint | None) -> NonFiniteLoss:
    kept = (
        f"the state after the last good epoch is in {checkpoint.folder}"
        if checkpoint is not None and checkpoint.exists()
        else "there is no earlier state"
    )
    return NonFiniteLoss(
        f"{what}: training stopped; {kept}. Try a lower --optim.lr, or --engine.precision fp32."
    )

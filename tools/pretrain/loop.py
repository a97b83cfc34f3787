"""The training loop, which can be stopped anywhere and resumed to the same weights.

All randomness of a step follows from the seed and the step's number, so a checkpoint needs no
generator state. Schedules count steps, never seconds.
"""

import contextlib
import copy
import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.func import functional_call

from pretrain.augment import mix, random_erase, trivial_augment
from pretrain.network import average, load_start, top1
from pretrain.optimize import optimizers
from pretrain.photos import normalize
from pretrain.recipe import Recipe


@contextlib.contextmanager
def stop_asked() -> Iterator[Callable[[], bool]]:
    """Within it, SIGTERM and SIGINT do not end the process; the function it gives tells of them."""
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Pretraining:
    """A network being pre-trained by a recipe, with its optimizer, average and step count.

    Args:
        recipe: what to do.
        classes: class names in label order.
        seed: of the initial weights, the order of the photos and every augmentation.
        device: where to train.
        start: exported weights to start from, or none to start from random ones.
    """

    def __init__(
        self,
        recipe: Recipe,
        classes: Sequence[str],
        seed: int,
        device: torch.device,
        start: Path | None = None,
    ) -> None:
        if recipe.precision not in ("bf16", "fp32"):
            raise ValueError(f"precision is {recipe.precision!r}; expected 'bf16' or 'fp32'")
        torch.manual_seed(seed)
        self.recipe, self.seed, self.device = recipe, seed, device
        self.num_classes = len(classes)
        # timm leaves the patch dropout out at rate 0, and every recipe sets its rate per step.
        self.model = VisionTransformer(
            **recipe.architecture(self.num_classes),
            drop_path_rate=recipe.drop_path,
            patch_drop_rate=0.5,
        )
        if start is not None:
            load_start(self.model, start, classes)
        self.model.to(device)
        self.average = copy.deepcopy(self.model)
        self.optimizers = optimizers(self.model, recipe.optimizer, recipe.weight_decay)
        self.progress: dict[str, Any] = {"step": 0, "loss": 0.0, "cpu_seconds": 0.0}

    def step(self, photos: Tensor, labels: Tensor, steps: int) -> None:
        """One optimizer step on a batch of photos (B, 3, H, W) `uint8` and labels (B,)."""
        recipe, step = self.recipe, self.progress["step"]
        done = step / steps
        torch.manual_seed(self.seed * 1_000_003 + step)
        self.model.train()
        self.model.patch_drop.prob = recipe.patch_drop_at(done)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr_at(done)
        for part, target in zip(
            photos.split(recipe.micro_batch), labels.split(recipe.micro_batch), strict=True
        ):
            share = len(part) / len(photos)
            loss = self.loss(part.to(self.device), target.to(self.device), done) * share
            loss.backward()
            self.progress["loss"] += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        # The average forgets the starting weights quickly at first.
        average(self.average, self.model, min(recipe.ema, (1 + step) / (10 + step)))
        self.progress["step"] = step + 1

    def loss(self, photos: Tensor, labels: Tensor, done: float) -> Tensor:
        """Cross-entropy of augmented photos with smoothed, mixed targets."""
        recipe = self.recipe
        inputs = trivial_augment(photos.float() / 255, recipe.crop_scale, recipe.operations)
        inputs = random_erase(inputs, recipe.erase)
        targets = F.one_hot(labels, self.num_classes) * (1 - recipe.smoothing)
        targets = targets + recipe.smoothing / self.num_classes
        inputs, targets = mix(inputs, targets, *recipe.mixing_at(done))
        inputs = normalize(inputs)
        if recipe.precision == "fp32":
            scores = self.model(inputs)
        else:
            # Activations in bf16 throughout, on fp32 weights: autocast would cast at every layer.
            weights = {name: value.bfloat16() for name, value in self.model.named_parameters()}
            scores = functional_call(self.model, weights, (inputs.bfloat16(),))
        return F.cross_entropy(scores.float(), targets)

    def save(self, file: Path) -> None:
        """Write everything that `load` needs, atomically."""
        partial = file.with_suffix(".partial")
        state = {
            "recipe": dataclasses.asdict(self.recipe),
            "seed": self.seed,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": self.progress,
        }
        torch.save(state, partial)
        os.replace(partial, file)

    def load(self, file: Path) -> None:
        """Continue from a checkpoint, whose run may have been planned for other epochs.

        Raises:
            ValueError: it was written by another recipe or seed.
        """
        state = torch.load(file, map_location=self.device, weights_only=True)
        planned = dataclasses.asdict(self.recipe) | {"epochs": state["recipe"]["epochs"]}
        if (state["recipe"], state["seed"]) != (planned, self.seed):
            raise ValueError(f"{file} was written by another recipe or seed")
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = state["progress"]


def keep_metrics(file: Path, step: int) -> None:
    """Drop the lines of `file` that a run resumed at `step` will write again."""
    lines = file.read_text().splitlines() if file.exists() else []
    kept = [line + "\n" for line in lines if json.loads(line)["step"] <= step]
    file.write_text("".join(kept))


def rows_at(step: int, batch_size: int, count: int, seed: int) -> Tensor:
    """Which of `count` photos make the batch of `step`: each epoch is shuffled anew."""
    epoch, index = divmod(step, count // batch_size)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)[index * batch_size :][:batch_size]


def pretrain(
    run: Pretraining,
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    out: Path,
    save_every: int,
) -> bool:
    """Train to the end of the recipe, or until SIGTERM; resumes from `out`/checkpoint.pt.

    Args:
        run: what is trained.
        train: photos (N, 3, H, W) `uint8` and labels (N,).
        val: photos and labels on which the average's top-1 is measured every epoch.
        out: folder of checkpoint.pt and metrics.jsonl (a line per epoch).
        save_every: steps between checkpoints.

    Returns:
        Whether the recipe was finished.

    Raises:
        ValueError: there are fewer photos than a batch takes.
    """
    checkpoint, metrics = out / "checkpoint.pt", out / "metrics.jsonl"
    photos, labels = (tensor.to(run.device) for tensor in train)
    batch_size, per_epoch = run.recipe.batch_size, len(photos) // run.recipe.batch_size
    if per_epoch == 0:
        raise ValueError(f"{len(photos)} photos do not fill a batch of {batch_size}")
    if checkpoint.exists():
        run.load(checkpoint)
    progress, steps = run.progress, per_epoch * run.recipe.epochs
    keep_metrics(metrics, progress["step"])
    started = time.process_time() - progress["cpu_seconds"]
    with stop_asked() as stop:
        while progress["step"] < steps and not stop():
            rows = rows_at(progress["step"], batch_size, len(photos), run.seed)
            run.step(photos[rows], labels[rows], steps)
            progress["cpu_seconds"] = time.process_time() - started
            if progress["step"] % per_epoch == 0:
                line = {
                    "epoch": progress["step"] // per_epoch,
                    "step": progress["step"],
                    "loss": float(progress["loss"]) / per_epoch,
                    "top1": top1(run.average, *val, run.device),
                    "cpu_seconds": progress["cpu_seconds"],
                }
                progress["loss"] = 0.0
                with metrics.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)
            if progress["step"] % save_every == 0:
                run.save(checkpoint)
        run.save(checkpoint)
    return progress["step"] == steps

"""A training step: forward and backward pass, clipping, optimizer."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from arcvit.arc.prepared import Sites, Stacked, fused_sites, prepared, stacked
from arcvit.backbones.logits import logits_of
from arcvit.engine.class_weights import weighted_loss
from arcvit.engine.clock import Part
from arcvit.engine.objective import hits, mean_loss

Results = tuple[Tensor, Tensor]
"""The mean loss of a batch and the number of its rows that are right, on the device."""


def no_lap(part: Part) -> None:
    """Nobody is told."""
    del part


@dataclass(kw_only=True)
class Step:
    """A whole training step on one device.

    Attributes:
        model: what is trained.
        optimizer: of what is trained.
        clip_grad: largest norm of the gradient; 0: no clipping.
        label_smoothing: share of the target spread over all classes.
        class_weights: how much an image counts by its class, (K,), on the device; None: all alike.
        autocast: gives the context of the forward pass.
        make: what makes the projections of ARC's sites: ``stacked``, or a compiled version of it.
        lap: told when forward or backward pass have been issued.
        part: of a run's time, what goes by after that.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    clip_grad: float = 0.0
    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    make: Stacked = stacked
    lap: Callable[[Part], None] = no_lap
    part: ClassVar[Part] = "optimizer"
    trained: list[nn.Parameter] = field(init=False)
    sites: Sites = field(init=False)

    def __post_init__(self) -> None:
        self.sites = fused_sites(self.model)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]

    def __call__(
        self, pixels: Tensor, labels: Tensor, share: float = 1.0, *, last: bool = True
    ) -> Results:
        """Learn from a batch; rows labelled -100 are padding.

        Args:
            pixels: the model's input, (B, C, H, W).
            labels: (B,), or (B, K) of several labels an image.
            share: of the step's images that are in this batch.
            last: whether it is the last batch of the step.
        """
        results = self.learn(pixels, labels, share)
        if last:
            self.update()
        return results

    def learn(self, pixels: Tensor, labels: Tensor, share: float | Tensor = 1.0) -> Results:
        """Forward and backward pass; gradients add up."""
        with prepared(self.sites, pixels, autocast=self.autocast, make=self.make):
            with self.autocast():
                logits = logits_of(self.model(pixels))
            loss = self._loss(logits.float(), labels)
            results = loss.detach(), hits(logits.detach(), labels)
            self.lap("forward")
            self._backward(loss, share)
            self.lap("backward")
        return results

    def update(self, *, keep_gradients: bool = False) -> None:
        """Clip, take the optimizer's step, and forget the gradients.

        Args:
            keep_gradients: leave their tensors where they are, as zeros.
        """
        if self.clip_grad:
            nn.utils.clip_grad_norm_(self.trained, self.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=not keep_gradients)

    def is_current(self) -> bool:
        """Whether the model's sites are those that the step was made for."""
        return self.sites == fused_sites(self.model)

    def alone(self) -> AbstractContextManager[object]:
        """The context of a backward pass that is of no concern to other processes."""
        return nullcontext()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.label_smoothing
        if self.class_weights is None:
            return mean_loss(logits, labels, smoothing)
        return weighted_loss(logits, labels, self.class_weights, label_smoothing=smoothing)

    def _backward(self, loss: Tensor, share: float | Tensor) -> None:
        whole = isinstance(share, float) and share == 1.0
        (loss if whole else loss * share).backward()


@dataclass(kw_only=True)
class AcceleratedStep(Step):
    """A step as accelerate takes it: over several processes, and with fp16's loss scale.

    Attributes:
        accelerator: which has prepared model and optimizer, and knows the last batch of a step.
    """

    accelerator: Accelerator

    def __call__(
        self, pixels: Tensor, labels: Tensor, share: float = 1.0, *, last: bool = True
    ) -> Results:
        """As ``Step.__call__``."""
        del last
        with self.accelerator.accumulate(self.model):
            results = self.learn(pixels, labels, share)
            self.update()
        return results

    def update(self, *, keep_gradients: bool = False) -> None:
        """As ``Step.update``, where the batch is the last of its step."""
        if self.accelerator.sync_gradients and self.clip_grad:
            self.accelerator.clip_grad_norm_(self.trained, self.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=not keep_gradients)

    def alone(self) -> AbstractContextManager[object]:
        """As ``Step.alone``."""
        context: AbstractContextManager[object] = self.accelerator.no_sync(self.model)
        return context

    def _backward(self, loss: Tensor, share: float | Tensor) -> None:
        # accelerate divides by the number of batches.
        self.accelerator.backward(loss * (share * self.accelerator.gradient_accumulation_steps))

    def whole(self) -> Step:
        """The same without accelerate, for one process and no loss scale."""
        return Step(
            model=self.model,
            optimizer=getattr(self.optimizer, "optimizer", self.optimizer),
            clip_grad=self.clip_grad,
            label_smoothing=self.label_smoothing,
            class_weights=self.class_weights,
            autocast=self.autocast,
            make=self.make,
        )

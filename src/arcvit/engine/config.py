"""How a task is learned. No torch: the command line reads this."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with linear warm-up and a cosine per step.

    Attributes:
        lr: peak learning rate; default: the method's own (arcvit train --help lists them).
        weight_decay: decoupled weight decay, of all trained parameters as in the paper.
        warmup: share of the steps in which the rate rises from 0.
        clip_grad: largest norm of the gradient; 0: no clipping.
        projection_lr: rate of the shared projections, as a multiple of lr.
        coefficients_lr: rate of the re-scaling coefficients, as a multiple of lr.
        bias_lr: rate of the adapters' biases, as a multiple of lr.
        head_lr: rate of the head, as a multiple of lr.
    """

    lr: float | None = None
    weight_decay: float = 0.0
    warmup: float = 0.1
    clip_grad: float = 1.0
    projection_lr: float = 1.0
    coefficients_lr: float = 1.0
    bias_lr: float = 1.0
    head_lr: float = 1.0


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """The training loop.

    Attributes:
        epochs: passes over the training images; the last one counts.
        batch_size: images in a forward pass.
        accumulate: batches in an optimizer step.
        precision: fp32, bf16 or fp16 autocast; auto takes bf16 where the device is good at it.
        label_smoothing: share of the target spread over all classes.
        validate_every: epochs between validations; 0: only after the last.
        checkpoint_every: epochs between checkpoints to resume from; 0: none.
        keep_checkpoint: leave the checkpoint when the run has finished.
        device: cpu, cuda or mps; auto takes the best there is.
        track: experiment trackers of accelerate: tensorboard, wandb, mlflow.
    """

    epochs: int = 50
    batch_size: int = 32
    accumulate: int = 1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    label_smoothing: float = 0.0
    validate_every: int = 1
    checkpoint_every: int = 1
    keep_checkpoint: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    track: list[str] = field(default_factory=lambda: ["tensorboard"])

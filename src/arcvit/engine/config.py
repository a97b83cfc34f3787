"""How a task is learned. No torch: the command line reads this."""

from dataclasses import dataclass, field
from typing import Literal

from arcvit.core.settings import Range, check_settings

Tracker = Literal["tensorboard", "wandb", "mlflow"]
MemoryMode = Literal["fast", "lean", "min"]
Memory = Literal["auto", "fast", "lean", "min"]


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

    def __post_init__(self) -> None:
        ranges = {
            "lr": Range(above=0),
            "weight_decay": Range(at_least=0),
            "warmup": Range(at_least=0, at_most=1),
            "clip_grad": Range(at_least=0),
        }
        multiples = ("projection_lr", "coefficients_lr", "bias_lr", "head_lr")
        ranges |= dict.fromkeys(multiples, Range(at_least=0))
        check_settings("optim", self, ranges)


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """The training loop.

    Attributes:
        epochs: passes over the training images; the last one counts.
        batch_size: images in a forward pass.
        accumulate: batches in an optimizer step.
        precision: fp32, bf16 or fp16 autocast; auto takes bf16 where the device is
            faster in it (a CPU is tried).
        label_smoothing: share of the target spread over all classes.
        validate_every: epochs between validations; 0: only after the last; default: about ten in a
            run.
        checkpoint_every: epochs between checkpoints to resume from; 0: none.
        keep_checkpoint: leave the checkpoint when the run has finished.
        device: cpu, cuda or mps; auto takes the best there is.
        track: experiment trackers of accelerate: tensorboard, wandb, mlflow; none by default.
        memory: what the backward pass computes again instead of keeping: nothing of size (fast),
            the MLPs' hidden activations (lean) or whole blocks (min); all train the same. auto
            takes the fastest that fits a GPU, and fast elsewhere.
        profile: print where the wall time went, and write it to profile.json; on a GPU this makes
            the host wait for the device at every part of a step.
    """

    epochs: int = 30
    batch_size: int = 32
    accumulate: int = 1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    label_smoothing: float = 0.0
    validate_every: int | None = None
    checkpoint_every: int = 1
    keep_checkpoint: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    track: list[Tracker] = field(default_factory=list)
    memory: Memory = "auto"
    profile: bool = False

    def __post_init__(self) -> None:
        ranges = {
            "epochs": Range(at_least=1),
            "batch_size": Range(at_least=1),
            "accumulate": Range(at_least=1),
            "label_smoothing": Range(at_least=0, below=1),
            "validate_every": Range(at_least=0),
            "checkpoint_every": Range(at_least=0),
        }
        check_settings("engine", self, ranges)

"""How a task is learned. No torch: the command line reads this."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from arcvit.core.settings import (
    Count,
    NotNegative,
    Positive,
    Range,
    Share,
    check_range,
    check_settings,
)

Tracker = Literal["tensorboard", "wandb", "mlflow"]
MemoryMode = Literal["fast", "lean", "min"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Memory = Literal["auto", "fast", "lean", "min"]
CompileMode = Literal["off", "capture", "blocks", "graph"]
Compile = Literal["auto", "off", "capture", "blocks", "graph"]

VALIDATIONS = 10
"""Validations of a run, about: the last epoch counts, and more would only take time."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with linear warm-up and a cosine per step.

    Attributes:
        lr: peak learning rate; default: the method's own (arcvit train --help methods).
        weight_decay: decoupled weight decay, of all trained parameters as in the paper.
        warmup: share of the steps in which the rate rises from 0.
        clip_grad: largest norm of the gradient; 0: no clipping.
        average: share of the steps, at the end, whose weights are averaged; the mean is what is
            validated, tested and kept. 0: the last step's.
        class_weights: how much images count in the loss by their class: {CLASS: WEIGHT}, 1 for
            those not named; or auto, by which all classes count alike, however many images they
            have. Scaled so that their mean over the training images is 1; default: all images
            count alike.
        projection_lr: rate of the shared projections, as a multiple of lr.
        coefficients_lr: rate of the re-scaling coefficients, as a multiple of lr; default: the
            method's own (1; arc_plus: 30).
        bias_lr: rate of the adapters' biases, as a multiple of lr.
        head_lr: rate of the head, as a multiple of lr.
    """

    lr: Positive | None = None
    weight_decay: NotNegative = 0.0
    warmup: Annotated[float, Range(at_least=0, at_most=1)] = 0.1
    clip_grad: NotNegative = 1.0
    average: Annotated[float, Range(at_least=0, at_most=1)] = 0.0
    class_weights: Literal["auto"] | dict[str, float] | None = None
    projection_lr: NotNegative = 1.0
    coefficients_lr: NotNegative | None = None
    bias_lr: NotNegative = 1.0
    head_lr: NotNegative = 1.0

    def __post_init__(self) -> None:
        check_settings("optim", self)
        for name, weight in named_weights(self.class_weights).items():
            check_range(f"optim.class_weights.{name}", weight, Positive)


def named_weights(asked: str | dict[str, float] | None) -> dict[str, float]:
    """The weights that were given by name; none with ``auto``."""
    return asked if isinstance(asked, dict) else {}


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """The training loop.

    Attributes:
        epochs: passes over the training images; the last one counts.
        batch_size: images in a batch, of all processes together.
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
        compile: compile each kind of block once (blocks), capture the training step in a CUDA graph
            (capture), or both (graph); auto captures on a GPU, and compiles too where a run is long
            enough to pay for the seconds that it takes.
        frozen: dtype in which frozen weights are held while training; auto takes bf16 on a GPU
            under bf16, where they would be cast in every step.
        profile: print where the wall time went, and write it to profile.json; on a GPU this makes
            the host wait for the device at every part of a step.
    """

    epochs: Count = 30
    batch_size: Count = 32
    accumulate: Count = 1
    precision: Precision = "auto"
    label_smoothing: Share = 0.0
    validate_every: Annotated[int, Range(at_least=0)] | None = None
    checkpoint_every: Annotated[int, Range(at_least=0)] = 1
    keep_checkpoint: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    track: list[Tracker] = field(default_factory=list)
    memory: Memory = "auto"
    compile: Compile = "auto"
    frozen: Literal["auto", "fp32", "bf16"] = "auto"
    profile: bool = False

    def __post_init__(self) -> None:
        check_settings("engine", self)

    @property
    def validation_interval(self) -> int:
        """Epochs between validations; 0: only after the last."""
        every = self.validate_every
        return max(1, self.epochs // VALIDATIONS) if every is None else every

    def is_due(self, epoch: int, every: int) -> bool:
        """Whether what is done every so many epochs, and after the last, is done after this one."""
        return epoch == self.epochs or (every > 0 and epoch % every == 0)

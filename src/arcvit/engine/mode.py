"""Which steps are compiled and captured, where it is left to ``auto``, and what can't be."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from torch import nn

from arcvit.core.errors import UserError
from arcvit.engine.compile import repeated_blocks
from arcvit.engine.config import CompileMode, EngineConfig, MemoryMode

CAPTURE_FROM = 100
"""Steps of a run from which capturing pays for its warm-up of half a second.

On an H200 an eager step of ViT-B/16 takes 51 ms at batch 64, a captured one 21.1."""

COMPILE_FROM = 8e12
"""Images of a run times parameters of its model from which compiling pays for itself.

It takes 6.6 to 15 s there, and then a captured step 15.3 ms instead of 21.1, at 64 images and 86
million parameters: 70,000 to 165,000 images of a ViT-B pay for it."""

_MODES: dict[tuple[bool, bool], CompileMode] = {
    (False, False): "off",
    (False, True): "capture",
    (True, False): "blocks",
    (True, True): "graph",
}
"""By whether blocks are compiled, and steps captured."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How steps are to be executed.

    Attributes:
        mode: what is compiled and captured.
        asked: whether that was asked for: what then can't be done ends the run.
        frozen: dtype in which frozen weights are held; None: as they are.
        memory: the memory mode.
    """

    mode: CompileMode = "off"
    asked: bool = False
    frozen: torch.dtype | None = None
    memory: MemoryMode = "fast"

    @property
    def compiles(self) -> bool:
        """Whether blocks are compiled."""
        return self.mode in ("blocks", "graph")

    @property
    def captures(self) -> bool:
        """Whether steps are captured."""
        return self.mode in ("capture", "graph")

    def describe(self) -> str:
        """What is done, as a line to print."""
        done = ["blocks compiled"] if self.compiles else []
        done += ["steps captured in a CUDA graph"] if self.captures else []
        return " and ".join(done) + " (--engine.compile)"


def mode_of(*, compiles: bool, captures: bool) -> CompileMode:
    """The name of what is compiled and captured."""
    return _MODES[compiles, captures]


def check_modes(engine: EngineConfig, accelerator: Accelerator) -> None:
    """Refuse what the device or the precision rule out, before anything else takes time.

    Raises:
        UserError: names the setting.
    """
    device = accelerator.device.type
    if engine.compile in ("capture", "graph") and device != "cuda":
        raise UserError(
            f"--engine.compile {engine.compile} captures steps in CUDA graphs, and this runs on"
            f" {device}: expected off or blocks there."
        )
    if engine.frozen == "bf16" and accelerator.mixed_precision != "bf16":
        raise UserError(
            "--engine.frozen bf16 needs --engine.precision bf16: the results would be others in"
            " any other precision."
        )


def choose_plan(
    engine: EngineConfig,
    accelerator: Accelerator,
    model: nn.Module,
    *,
    images: int,
    memory: MemoryMode,
    resumed: CompileMode | None = None,
    head_alone: bool = False,
) -> tuple[Plan, str | None]:
    """How the steps of a run are executed.

    Args:
        engine: what was asked for.
        accelerator: device, precision, processes.
        model: what is trained.
        images: training images.
        memory: the memory mode.
        resumed: the mode that the run had before it was interrupted.
        head_alone: whether the model is the head, which has no blocks.

    Returns:
        The plan, and what to say where it is less than was asked for.

    Raises:
        UserError: blocks are to be compiled, and the model repeats none.
    """
    why_not = _why_not_captured(accelerator, model, memory)
    cuda = accelerator.device.type == "cuda"
    frozen = engine.frozen
    if frozen == "auto":
        frozen = "bf16" if cuda and accelerator.mixed_precision == "bf16" else "fp32"
    rest: dict[str, Any] = {"frozen": torch.bfloat16 if frozen == "bf16" else None}
    rest |= {"memory": memory, "asked": engine.compile != "auto"}
    if engine.compile == "auto":
        wanted = resumed or _mode_that_pays(engine, accelerator, model, images)
    else:
        wanted = engine.compile
    asked = Plan(mode=wanted, **rest)
    blocks = bool(repeated_blocks(model))
    if asked.asked and asked.compiles and not blocks and not head_alone:
        raise UserError(
            f"--engine.compile {wanted} finds no repeated blocks in {type(model).__name__}:"
            " expected a transformer; use --engine.compile off."
        )
    mode = mode_of(compiles=asked.compiles and blocks, captures=asked.captures and why_not is None)
    lowered = asked.captures and why_not is not None
    return replace(asked, mode=mode), f"steps aren't captured: {why_not}" if lowered else None


def _mode_that_pays(
    engine: EngineConfig, accelerator: Accelerator, model: nn.Module, images: int
) -> CompileMode:
    if accelerator.device.type != "cuda" or _shards(accelerator):
        return "off"
    seen = images * engine.epochs / accelerator.num_processes
    parameters = sum(p.numel() for p in model.parameters())
    return mode_of(
        compiles=seen * parameters >= COMPILE_FROM,
        captures=seen / (engine.batch_size * engine.accumulate) >= CAPTURE_FROM,
    )


def _why_not_captured(accelerator: Accelerator, model: nn.Module, memory: MemoryMode) -> str | None:
    """What keeps a step from being whole, or the same with a padded batch."""
    if accelerator.num_processes > 1 or _shards(accelerator):
        return "each is shared by several processes"
    if accelerator.scaler is not None:
        return "fp16 takes some of them back, which the host decides"
    if memory == "min":
        return "memory mode min computes whole blocks again"
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        return "the padding of the last batch would count in batch norm"
    return None if accelerator.device.type == "cuda" else "the device has no CUDA graphs"


def _shards(accelerator: Accelerator) -> bool:
    whole = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)
    return accelerator.distributed_type not in whole

"""Device and precision of a run, and the memory it took."""

import os
import sys

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DataLoaderConfiguration

from arcvit.core.errors import UserError
from arcvit.core.launch import processes
from arcvit.engine.config import EngineConfig
from arcvit.engine.precision import choose_precision

_AMP = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
_SEED_STRIDE = 1_000_003


def make_accelerator(
    engine: EngineConfig,
    seed: int,
    *,
    backbone: str | None = None,
    image_size: int | None = None,
    resumed: str | None = None,
) -> Accelerator:
    """The accelerator of a run: device, precision, accumulation.

    Args:
        engine: what was asked for.
        seed: seed of the order of the training images.
        backbone: what runs on it, by which ``precision: auto`` is chosen on a CPU.
        image_size: edge of its input in pixels; None: its own.
        resumed: the precision that the run had before it was interrupted, in accelerate's words.

    Raises:
        UserError: the device isn't there, or there are more processes than devices.
    """
    device = choose_device(engine.device)
    if engine.precision == "fp16" and device == "cpu":
        raise UserError("--engine.precision fp16 needs a GPU: expected fp32 or bf16 on a CPU.")
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if device == "cuda" and here > torch.cuda.device_count():
        raise UserError(
            f"{here} processes were started on a machine with {torch.cuda.device_count()} GPU(s):"
            " expected at most one for each."
        )
    if engine.device != "auto" and device != "cpu":
        torch.empty(0, device=device)
    mixed = resumed
    if mixed is None:
        size = engine.batch_size
        mixed = _AMP[
            choose_precision(device, backbone, batch_size=size, image_size=image_size)
            if engine.precision == "auto"
            else engine.precision
        ]
    # accelerate keeps one state a process and refuses another precision or device for it, which
    # a second run in the same process may well ask for.
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    accelerator = Accelerator(
        cpu=device == "cpu",
        mixed_precision=mixed,
        gradient_accumulation_steps=engine.accumulate,
        # accelerate adds the epoch to it: neighbouring seeds must not share orders.
        dataloader_config=DataLoaderConfiguration(
            use_seedable_sampler=True,
            data_seed=seed * _SEED_STRIDE,
            non_blocking=device == "cuda",
            split_batches=True,  # the batch is that of all processes together
        ),
        step_scheduler_with_optimizer=False,
    )
    if accelerator.num_processes != processes():
        raise UserError(
            f"{processes()} processes were started, and they can't work together on {device}:"
            " expected --engine.device cpu, or one process."
        )
    return accelerator


def choose_device(asked: str) -> str:
    """``cuda``, ``mps`` or ``cpu``; ``auto`` takes the first that is there.

    Raises:
        UserError: the device asked for isn't there.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if asked == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if not there[asked]:
        names = ", ".join(name for name, is_there in there.items() if is_there)
        raise UserError(f"there is no {asked} device here: expected --engine.device {names}.")
    return asked


def evaluation_batch(device: torch.device) -> int:
    """Images of the first try of a forward pass without gradients.

    A GPU gains nothing beyond a few hundred. On a CPU activations should stay in its caches, and
    the weights be cast to bf16 rarely: benchmarks/README.md has the times of several widths.
    """
    return 512 if device.type == "cuda" else 128


def peak_memory_mb(device: torch.device) -> float | None:
    """Largest memory allocated on a CUDA device, or resident in the process elsewhere, in MB.

    None on Windows, which has no ``resource`` module to ask.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if sys.platform == "win32":
        return None
    import resource

    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

"""Device and precision of a run, and the memory it took."""

import resource
import sys

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DataLoaderConfiguration

from arcvit.core.errors import UserError
from arcvit.engine.config import EngineConfig

_AMP = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
_SEED_STRIDE = 1_000_003


def make_accelerator(engine: EngineConfig, seed: int) -> Accelerator:
    """The accelerator of a run: device, precision, accumulation.

    Args:
        engine: what was asked for.
        seed: seed of the order of the training images.

    Raises:
        UserError: the device isn't there.
    """
    device = choose_device(engine.device)
    precision = choose_precision(device) if engine.precision == "auto" else engine.precision
    if precision == "fp16" and device == "cpu":
        raise UserError("--engine.precision fp16 needs a GPU: expected fp32 or bf16 on a CPU.")
    if engine.device != "auto" and device != "cpu":
        torch.empty(0, device=device)
    # accelerate keeps one state a process and refuses another precision or device for it, which
    # a second run in the same process may well ask for.
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision=_AMP[precision],
        gradient_accumulation_steps=engine.accumulate,
        # accelerate adds the epoch to it: neighbouring seeds must not share orders.
        dataloader_config=DataLoaderConfiguration(
            use_seedable_sampler=True,
            data_seed=seed * _SEED_STRIDE,
            non_blocking=device == "cuda",
        ),
        step_scheduler_with_optimizer=False,
    )


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


def choose_precision(device: str) -> str:
    """bf16 where the device computes in it natively, fp32 elsewhere.

    On a CPU with AVX512-BF16 or AMX, bf16 autocast takes about two thirds of the time of fp32.
    """
    if device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    if device == "cpu":
        can = torch.cpu.get_capabilities()
        return "bf16" if can.get("avx512_bf16") or can.get("amx_bf16") else "fp32"
    return "fp32"


def evaluation_batch(device: torch.device) -> int:
    """Images of the first try of a forward pass without gradients.

    A GPU gains nothing beyond a few hundred. On a CPU activations should stay in its caches, and
    the weights be cast to bf16 rarely: benchmarks/README.md has the times of several widths.
    """
    return 512 if device.type == "cuda" else 128


def peak_memory_mb(device: torch.device) -> float:
    """Largest memory allocated on a CUDA device, or resident in the process elsewhere, in MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

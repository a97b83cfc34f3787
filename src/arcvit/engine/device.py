"""Device and precision of a run, and the memory it took."""

import functools
import os
import sys
import time

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DataLoaderConfiguration

from arcvit.core.errors import UserError
from arcvit.engine.config import EngineConfig

_AMP = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
_SEED_STRIDE = 1_000_003
_WORTH_CASTING = 1.25
"""How much faster bf16 products must be than fp32 ones to pay for the casts around them."""


def make_accelerator(engine: EngineConfig, seed: int, *, resumed: str | None = None) -> Accelerator:
    """The accelerator of a run: device, precision, accumulation.

    Args:
        engine: what was asked for.
        seed: seed of the order of the training images.
        resumed: the precision that the run had before it was interrupted, in accelerate's words.

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
        mixed_precision=resumed or _AMP[precision],
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
    """bf16 where the device computes in it natively and faster, fp32 elsewhere.

    A CPU that has bf16 instructions is not always faster with them: some take twice the time of
    fp32 (benchmarks/README.md), so it is tried. Several processes on CPUs might not agree about
    the outcome, and take fp32.
    """
    if device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    return "bf16" if device == "cpu" and alone and bf16_pays_on_cpu() else "fp32"


@functools.cache
def bf16_pays_on_cpu() -> bool:
    """Whether this CPU multiplies matrices of a ViT's size enough faster in bf16 than in fp32.

    It takes some 0.1 s, once a process: the best of interleaved rounds of each.
    """
    capabilities = torch.cpu.get_capabilities()
    if not (capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")):
        return False
    fastest = dict.fromkeys((torch.float32, torch.bfloat16), float("inf"))
    with torch.inference_mode():
        x, weight = torch.ones(1024, 768), torch.ones(768, 768)
        for _ in range(7):
            for dtype in fastest:
                rows, matrix = x.to(dtype), weight.to(dtype)
                start = time.perf_counter()
                F.linear(rows, matrix)
                fastest[dtype] = min(fastest[dtype], time.perf_counter() - start)
    return fastest[torch.float32] > _WORTH_CASTING * fastest[torch.bfloat16]


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

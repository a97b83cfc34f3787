"""The precision that ``auto`` stands for: bf16 where a step of this model is faster in it."""

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from arcvit.backbones.build import build_backbone
from arcvit.core.launch import processes
from arcvit.engine.compile import repeated_blocks

Steps = dict[torch.dtype, Callable[[], object]]
"""A training step in fp32 and in bf16."""

_ROUNDS = 6
_SECONDS = 0.4
_FASTER = 1.05
"""How much faster bf16 must be: less is noise, and fp32 is what results are compared in."""
_MULTIPLICATIONS = 3e9
"""Of a block forwards, in a trial: some 40 ms back and forth on two cores."""


def choose_precision(
    device: str, backbone: str | None, *, batch_size: int, image_size: int | None = None
) -> str:
    """bf16 where the device computes in it natively and faster, fp32 elsewhere.

    A CPU that has bf16 instructions is not always faster with them, and not for every model: a
    narrow one casts more than it multiplies (benchmarks/README.md). So a block of the model is
    tried. Several processes on CPUs might not agree about the outcome, and take fp32.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        backbone: what will be trained, as ``build_backbone`` takes it; None: it isn't known.
        batch_size: images in a step.
        image_size: edge of the input in pixels; None: the backbone's own.
    """
    if device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    if device != "cpu" or processes() > 1 or backbone is None or not _has_bf16_instructions():
        return "fp32"
    return "bf16" if bf16_pays(backbone, batch_size, image_size) else "fp32"


@functools.cache
def bf16_pays(backbone: str, batch_size: int, image_size: int | None) -> bool:
    """Whether this CPU takes a block forwards and back faster in bf16: tried once a process."""
    tried = block_steps(backbone, batch_size, image_size)
    return tried is not None and is_faster_in_bf16(tried)


def is_faster_in_bf16(steps: Steps) -> bool:
    """Whether the step is clearly faster in bf16: the best of a few rounds of each, in turns."""
    best = dict.fromkeys(steps, float("inf"))
    begun = time.perf_counter()
    for round_ in range(_ROUNDS):
        for dtype, step in steps.items():
            start = time.perf_counter()
            step()
            if round_:  # the first one makes ready
                best[dtype] = min(best[dtype], time.perf_counter() - start)
        if round_ and time.perf_counter() - begun > _SECONDS:
            break
    return best[torch.float32] > _FASTER * best[torch.bfloat16]


def block_steps(backbone: str, batch_size: int, image_size: int | None) -> Steps | None:
    """One of the blocks that a backbone repeats, frozen, on input as it gets it in a training step.

    Of a large model it takes fewer images. None: the backbone repeats no blocks.
    """
    with torch.device("meta"):
        built = build_backbone(backbone, num_classes=2, weights="random", image_size=image_size)
        images = torch.empty(batch_size, 3, *built.input_size)
    blocks = repeated_blocks(built.model.requires_grad_(False))
    if not blocks:
        return None
    block, seen = blocks[0], []
    hook = block.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
    )
    built.model(images)
    hook.remove()
    args, kwargs = seen[0]
    rows = args[0].numel() / args[0].shape[-1] / batch_size
    weights = sum(p.numel() for p in block.parameters())
    fits = max(1, min(batch_size, int(_MULTIPLICATIONS / (rows * weights))))
    block.to_empty(device="cpu")
    for tensor in (*block.parameters(), *block.buffers()):
        tensor.zero_()

    def real(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        shape = (fits, *value.shape[1:]) if value.shape[:1] == (batch_size,) else value.shape
        return torch.ones(shape, dtype=value.dtype)

    given = [real(value) for value in args]
    named = {name: real(value) for name, value in kwargs.items()}
    return {dtype: _step(block, given, named, dtype) for dtype in (torch.float32, torch.bfloat16)}


def _step(
    block: nn.Module, args: list[Any], kwargs: dict[str, Any], dtype: torch.dtype
) -> Callable[[], object]:
    def step() -> object:
        x = args[0].detach().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            y = block(x, *args[1:], **kwargs)
        y = y if isinstance(y, Tensor) else y[0]
        return torch.autograd.grad(y, x, torch.ones_like(y))

    return step


def _has_bf16_instructions() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))

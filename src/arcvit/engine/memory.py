"""What the backward pass computes again instead of keeping: fast, lean or min.

``fast`` keeps all. ``lean`` computes the hidden activations of every MLP again: the largest tensors
of a block, one matrix product each. ``min`` keeps the input of each block and runs it again. All
give the same gradients.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from arcvit.core.errors import UserError
from arcvit.engine.config import MemoryMode
from arcvit.engine.forward_as import forward_as
from arcvit.engine.memory_hidden import keeps_only_hidden, recomputed_mlp


@contextmanager
def recomputing(model: nn.Module, memory: MemoryMode) -> Iterator[None]:
    """Within the context, a model's training keeps less; evaluation is as it was.

    Args:
        model: the adapted model.
        memory: ``fast``, ``lean`` or ``min``.

    Raises:
        UserError: the model has no MLPs or blocks that can be computed again.
    """
    with ExitStack() as restored:
        if memory == "lean":
            mlps = _mlps(model)
            if not mlps:
                raise _unknown(model, memory, "MLPs")
            for mlp in mlps:
                lean = recomputed_mlp if keeps_only_hidden(mlp) else _checkpointed
                restored.enter_context(forward_as(mlp, lean))
        elif memory == "min":
            backbone = next((m for m in model.modules() if _checkpoints_itself(m)), None)
            if backbone is not None:
                restored.enter_context(_own_checkpointing(backbone))
            else:
                blocks = _blocks(model)
                if not blocks:
                    raise _unknown(model, memory, "blocks")
                for block in blocks:
                    restored.enter_context(forward_as(block, _checkpointed))
        yield


def _mlps(model: nn.Module) -> list[nn.Module]:
    named = model.named_modules()
    return [module for name, module in named if name.rpartition(".")[2] == "mlp"]


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The items of the longest sequence of modules of one class."""
    sequences = [
        list(module)
        for module in model.modules()
        if isinstance(module, nn.Sequential | nn.ModuleList)
        and len(module) > 1
        and len({type(item) for item in module}) == 1
    ]
    return max(sequences, key=len, default=[])


def _checkpoints_itself(module: nn.Module) -> bool:
    return hasattr(type(module), "set_grad_checkpointing")


@contextmanager
def _own_checkpointing(backbone: Any) -> Iterator[None]:
    """timm's own; its blocks are checkpointed without re-entering autograd."""
    before = bool(getattr(backbone, "grad_checkpointing", False))
    backbone.set_grad_checkpointing(True)
    try:
        yield
    finally:
        backbone.set_grad_checkpointing(before)


def _checkpointed(
    module: nn.Module, forward: Callable[..., Tensor], *args: Any, **kwargs: Any
) -> Any:
    del module
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def _unknown(model: nn.Module, memory: str, what: str) -> UserError:
    return UserError(
        f"--engine.memory {memory} finds no {what} in {type(model).__name__}: expected a"
        " transformer; use --engine.memory fast."
    )

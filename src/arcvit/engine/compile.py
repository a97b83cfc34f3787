"""Blocks that run compiled.

A step of an adapted backbone is a thousand small kernels in eager mode, and the host takes longer
to launch them than the device to run them. Compiling a block fuses what lies between its products;
one compiled block serves all blocks of its kind.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from arcvit.arc.prepared import Stacked
from arcvit.engine.config import MemoryMode
from arcvit.engine.drop_path import probabilities_in_tensors
from arcvit.engine.groups import adapter_parameters

RECOMPILE_LIMIT = 64
"""Versions of a block's code a process may compile: training, evaluation, other adapters and sizes.

They share one limit, 8 by default, beyond which Dynamo would give up."""

INDUCTOR = {"realize_acc_reads_threshold": 16}
"""Beyond 8 tensors read, Inductor would store the gradient of a norm and the sum of it with the
residual stream's: one more pass over memory in fp32 for each block of an adapted backbone."""

PARTITIONER = {
    "ban_recompute_materialized_backward": False,
    "autograd_cache_allow_custom_autograd_functions": True,
}
"""An adapted norm's output is made again from its input, which its backward pass reads anyway: it
would be an eighth of a step's memory. And code with an autograd function is cached between
processes as any other: ours depends on nothing but its arguments."""

LEAN_BUDGET = 0.6
"""Share of what a compiled block keeps in ``fast`` that it may keep in ``lean``: about what is left
without the hidden activations of its MLP."""


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks a model repeats: modules of one class and shape, side by side in one container.

    Only the outermost are given; stages of different width (Swin's) are gone into.
    """
    found: list[nn.Module] = []
    for child in model.children():
        parts = list(child.children())
        kinds = [_kind(part) for part in parts]
        for part, kind in zip(parts, kinds, strict=True):
            if isinstance(child, nn.Sequential | nn.ModuleList) and kinds.count(kind) > 1:
                if any(True for _ in part.children()):  # a lone layer is no block
                    found.append(part)
            else:
                found.extend(_with_itself(part))
    return found


@contextmanager
def compiled_blocks(
    model: nn.Module, *, backend: str = "inductor", memory: MemoryMode = "fast"
) -> Iterator[Callable[[Stacked], Stacked]]:
    """Within the context, the repeated blocks of a model run compiled, without a graph break.

    A block that can't be compiled whole raises what Dynamo raises, when it is first called. Gives
    what compiles a function in the same way.

    Args:
        model: the model.
        backend: of torch.compile.
        memory: ``lean`` lets the compiler keep less for the backward pass. Code compiled before in
            the process stays as it is.
    """
    import torch._dynamo  # seconds, where nothing is compiled
    import torch._functorch.config

    how: dict[str, Any] = {"backend": backend, "fullgraph": True, "dynamic": False}
    if backend == "inductor":
        how["options"] = INDUCTOR

    def compiled(function: Stacked) -> Stacked:
        return torch.compile(function, **how)

    budget = LEAN_BUDGET if memory == "lean" else 1.0
    partitioner = {**PARTITIONER, "activation_memory_budget": budget}
    with ExitStack() as restored:
        restored.enter_context(torch._dynamo.config.patch(recompile_limit=RECOMPILE_LIMIT))
        restored.enter_context(torch._functorch.config.patch(partitioner))
        restored.enter_context(probabilities_in_tensors(model))
        for block in repeated_blocks(model):
            before = block._compiled_call_impl
            restored.callback(setattr, block, "_compiled_call_impl", before)
            block.compile(**how)
        yield compiled


def _with_itself(part: nn.Module) -> list[nn.Module]:
    """The blocks in a part that is none itself: it may be their container."""
    return repeated_blocks(nn.ModuleList([part]))


def _kind(block: nn.Module) -> tuple[Any, ...]:
    """Class and shapes. Of an adapted block those of the frozen: one holds what all share."""
    parameters = list(block.parameters())
    adapters = set(map(id, adapter_parameters(block)))
    frozen = [p.shape for p in parameters if not p.requires_grad and id(p) not in adapters]
    return type(block), *(frozen or [p.shape for p in parameters])

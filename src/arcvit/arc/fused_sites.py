"""At which norms the fused operation gives what the module itself would give."""

from typing import TypeGuard

import torch
from torch import nn

_PLAIN = {"torch.nn.modules.normalization.LayerNorm", "timm.layers.norm.LayerNorm"}
"""Classes whose forward is ``F.layer_norm``; others compute in another precision or layout."""


def is_plain_norm(module: nn.Module) -> TypeGuard[nn.LayerNorm]:
    """Whether a module is a LayerNorm over the last dimension that nobody has changed or watches.

    A hook on it, a forward of its own or a parametrization must see its output, so it is called.
    """
    kind = type(module)
    return (
        isinstance(module, nn.LayerNorm)
        and f"{kind.__module__}.{kind.__qualname__}" in _PLAIN
        and not getattr(module, "_fast_norm", False)
        and len(module.normalized_shape) == 1
        and "forward" not in vars(module)
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and not module._backward_hooks
        and not module._backward_pre_hooks
        and not torch.nn.modules.module._has_any_global_hook()
    )


def transformed() -> bool:
    """Whether torch.compile or a function transform is at work: they take the plain equations.

    The compiler fuses those itself, and an autograd function of one's own would be in its way.
    """
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()

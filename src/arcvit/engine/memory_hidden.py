"""The hidden activations of an MLP computed again: ``GELU(y W^T + w)`` keeps y, or not even that.

M  rows, d  width, h  hidden width

Where y comes from a fused ARC site, the site gives it again from what it keeps itself. Nobody else
sees the input of the GELU, so it is overwritten by the output and by the gradient.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arcvit.arc.fused import computed_again, output_again
from arcvit.arc.layer import ArcLayer
from arcvit.engine.known_source import is_known

_MLP = """
x = self.fc1(x)
x = self.act(x)
x = self.drop1(x)
x = self.norm(x)
x = self.fc2(x)
x = self.drop2(x)
return x
"""


def keeps_only_hidden(mlp: nn.Module) -> bool:
    """Whether a module is timm's MLP with GELU, and keeps nothing large but the GELU's input."""
    if type(mlp).__module__ != "timm.layers.mlp" or type(mlp).__name__ != "Mlp":
        return False
    if not is_known(type(mlp).forward, _MLP, "Recomputing an MLP's hidden activations alone"):
        return False
    parts = dict(mlp.named_children())
    last = parts["fc2"]
    if isinstance(last, ArcLayer) and last.placement == "output":
        parts["fc2"] = last.base_layer  # an adapter after it doesn't look at its input
    return (
        type(parts["fc1"]) is nn.Linear
        and type(parts["act"]) is nn.GELU
        and isinstance(parts["norm"], nn.Identity)
        and type(parts["fc2"]) is nn.Linear
        and not parts["fc2"].weight.requires_grad
        and not any(part._forward_hooks or part._forward_pre_hooks for part in parts.values())
    )


def recomputed_mlp(mlp: Any, forward: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """timm's MLP, whose hidden activations are computed again in the backward pass."""
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return forward(y)
    weight, bias = mlp.fc1.weight, mlp.fc1.bias
    hidden = RecomputedHidden.apply(y, weight, bias, mlp.act.approximate, computed_again(y))
    out: Tensor = mlp.drop2(mlp.fc2(mlp.norm(mlp.drop1(hidden))))
    return out


class RecomputedHidden(torch.autograd.Function):
    """``GELU(y W^T + w)``, (..., h), for y of (..., d)."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, weight: Tensor, bias: Tensor | None, approximate: str, site: Any
    ) -> Tensor:
        """The hidden activations; ``site``: the fused site that y comes from, or None."""
        ctx.site = site
        ctx.approximate = approximate
        ctx.save_for_backward(None if site is not None else y, weight, bias)
        device = y.device.type
        ctx.autocast = (
            device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        )  # fmt: skip
        hidden: Tensor = F.linear(y, weight, bias)
        return torch.ops.aten.gelu_(hidden, approximate=approximate)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of y, W and w."""
        kept, weight, bias = ctx.saved_tensors
        needs_y, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        device, dtype, enabled = ctx.autocast
        y = output_again(ctx.site) if kept is None else kept
        with torch.autocast(device, dtype=dtype, enabled=enabled):
            hidden = F.linear(y, weight, bias)
            into = {"grad_input": hidden} if grad.dtype == hidden.dtype else {}
            inner = torch.ops.aten.gelu_backward(grad, hidden, approximate=ctx.approximate, **into)
            del hidden, into
            grad_y = torch.matmul(inner, weight).to(y.dtype) if needs_y else None
            rows = inner.flatten(0, -2)
            grad_weight = (rows.mT @ y.flatten(0, -2)).to(weight.dtype) if needs_weight else None
        grad_bias = None if bias is None or not needs_bias else rows.sum(0, dtype=bias.dtype)
        return grad_y, grad_weight, grad_bias, None, None

"""LayerNorm and adapter as one operation that keeps next to nothing for the backward pass.

M  rows (B·N), d  width, r  bottleneck rank

    n = LayerNorm(x)    u = dropout(n (D * c))    y = n + [u 1] [U; b]  x, n, y: (M, d)   u: (M, r)

Separate modules keep n for the gradient of D, beside x for that of the norm. Here x, [u 1] and the
norm's statistics are kept, and a byte an element of u for its dropout, whose factor 1 / (1 - p)
rides in c. In one precision throughout the backward pass takes n^T g from x and the statistics;
else it computes n again. Differentiating twice goes through the plain equations.

PyTorch's operations do it (``arc.fused_torch``). On CUDA, ``ARCVIT_TRITON=1`` in the environment
takes the kernels of ``arc.kernels``: off by default, since where they pay has not been measured.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arcvit.arc import fused_torch

_EXACT = (torch.float32, torch.float64)
"""Where differences of sums over rows are as good as sums of differences."""


def norm_adapter(
    x: Tensor,
    norm: nn.LayerNorm,
    down: Tensor,
    coefficients: Tensor,
    up: Tensor | None,
    bias: Tensor | None,
    *,
    dropout: float = 0.0,
) -> Tensor:
    """The adapted output of a LayerNorm, ``n + dropout(n (D * c)) U + b`` with n of x.

    Args:
        x: input of the norm, (..., d).
        norm: the LayerNorm, over the last dimension.
        down: down-projection D, (d, r).
        coefficients: re-scaling coefficients c, (r,).
        up: up-projection U, (r, d); None: ``D^T``.
        bias: b, (d,), or None.
        dropout: probability of dropping an element of the bottleneck; 0 in evaluation.

    Returns:
        (..., d), in the dtype of the norm's output.
    """
    adapter = (down, coefficients, up, bias)
    given = (x, norm.weight, norm.bias, *adapter)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given):
        adapted: Tensor = NormAdapter.apply(*given, norm.eps, dropout)
        return adapted
    return _forward(*given, norm.eps, dropout)[0]


def computed_again(adapted: Tensor) -> Any:
    """The node of a fused site whose output this is, for ``output_again``; None for any other."""
    node = adapted.grad_fn
    return node if isinstance(node, NormAdapter._backward_cls) else None


def output_again(node: Any) -> Tensor:
    """The output of a fused site, computed from what the site keeps, before its backward pass."""
    x, weight, norm_bias, down, _, up, bias, bottleneck, *_ = node.saved_tensors
    normed, _, _ = fused_torch.normalize(
        x.reshape(-1, x.shape[-1]), weight, norm_bias, node.eps, node.norm_dtype
    )
    out_of = _out_of(down, up, bias, bottleneck.dtype)
    return fused_torch.add_update(normed, bottleneck, out_of).view(x.shape)


class NormAdapter(torch.autograd.Function):
    """The autograd function of ``norm_adapter``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        norm_bias: Tensor | None,
        down: Tensor,
        coefficients: Tensor,
        up: Tensor | None,
        bias: Tensor | None,
        eps: float,
        dropout: float,
    ) -> Tensor:
        """See ``norm_adapter``."""
        adapter = (down, coefficients, up, bias)
        adapted, *for_backward = _forward(x, weight, norm_bias, *adapter, eps, dropout)
        ctx.save_for_backward(x, weight, norm_bias, *adapter, *for_backward)
        ctx.eps = eps
        ctx.scale = _factor(dropout)
        ctx.norm_dtype = adapted.dtype
        return adapted

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of all tensors that need one."""
        if torch.is_grad_enabled():  # create_graph: the gradient is differentiated again
            return _differentiable_gradients(ctx, grad)
        with _autocast_off(grad.device.type):
            return _gradients(ctx, grad)


def _forward(
    x: Tensor,
    weight: Tensor | None,
    norm_bias: Tensor | None,
    down: Tensor,
    coefficients: Tensor,
    up: Tensor | None,
    bias: Tensor | None,
    eps: float,
    dropout: float,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
    """The adapted tensor (..., d), and for the backward pass: [u 1] (M, r + 1), which elements
    dropout kept (M, r), mean and 1 / deviation of each row.
    """
    d, r = down.shape
    rows = x.reshape(-1, d)
    dtype, work = _norm_dtype(x, weight, norm_bias), _work_dtype(x, down)
    with _autocast_off(x.device.type):
        kept = _kept(len(rows), r, dropout, x.device) if dropout > 0.0 else None
        into, out_of = _projections(down, coefficients * _factor(dropout), up, bias, work)
        adapted, bottleneck, mean, rstd = (_kernels(x) or fused_torch).forward(
            rows, weight, norm_bias, into, out_of, kept, eps=eps, dtype=dtype
        )
    return adapted.view(x.shape), bottleneck, kept, mean, rstd


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, norm_bias, down, coefficients, up, bias, bottleneck, kept, mean, rstd = (
        ctx.saved_tensors
    )
    needs_x, needs_weight, needs_norm_bias, *needs_of_adapter = ctx.needs_input_grad[:7]
    needs = (needs_x, needs_weight, needs_norm_bias)
    d, work = x.shape[-1], bottleneck.dtype
    grad, rows = grad.reshape(-1, d), x.reshape(-1, d)
    into, out_of = _projections(down, coefficients * ctx.scale, up, None, work)
    grad_x = grad_weight = grad_norm_bias = None
    kernels = _kernels(x)
    if kernels is not None and needs == (True, False, False):
        grad_x, inner = kernels.backward(grad, rows, weight, mean, rstd, into, out_of, kept)
    else:
        inner = fused_torch.backward_of_bottleneck(grad, out_of, kept)
        if any(needs):
            norm = (rows, weight, norm_bias, mean, rstd)
            grad_x, grad_weight, grad_norm_bias = fused_torch.backward_of_norm(
                grad, inner, into, *norm, dtype=ctx.norm_dtype, needs=needs
            )

    def inner_times_normed() -> Tensor:
        if x.dtype == work == ctx.norm_dtype and work in _EXACT:
            statistics = (mean, rstd, weight, norm_bias)
            return fused_torch.transposed_times_normed(inner, rows, *statistics)
        normed, _, _ = fused_torch.normalize(rows, weight, norm_bias, ctx.eps, ctx.norm_dtype)
        return (inner.mT @ normed.to(work)).to(down.dtype)

    adapter = (down, coefficients, up, bias)
    of_adapter = _adapter_gradients(
        grad, bottleneck, inner_times_normed, adapter, needs_of_adapter, ctx.scale
    )
    if grad_x is not None:
        grad_x = grad_x.view(x.shape)
    return grad_x, grad_weight, grad_norm_bias, *of_adapter, None, None


def _adapter_gradients(
    grad: Tensor,
    bottleneck: Tensor,
    inner_times_normed: Callable[[], Tensor],
    adapter: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    needs: Sequence[bool],
    scale: float,
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of D, c, U and b, where they are needed.

    Args:
        grad: gradient of y, (M, d).
        bottleneck: [u 1], (M, r + 1).
        inner_times_normed: gives the gradient of ``(D * c)^T``, (r, d), c with dropout's factor.
        adapter: D, c, U and b.
        needs: which are needed.
        scale: dropout's factor.
    """
    down, coefficients, up, bias = adapter
    needs_down, needs_c, needs_up, needs_bias = needs
    grad_down = grad_c = grad_up = grad_bias = None
    if needs_down or needs_c:
        grad_into = inner_times_normed()
        grad_c = (grad_into * down.mT).sum(1) * scale if needs_c else None
        scaled = (coefficients * scale).unsqueeze(1)
        grad_down = (grad_into * scaled).mT if needs_down else None
    if needs_up or (needs_down and up is None):
        grad_out = (bottleneck.mT @ grad.to(bottleneck.dtype)).to(down.dtype)
        of_up = grad_out[: len(coefficients)]
        if up is not None:
            grad_up = of_up
        elif grad_down is not None:
            grad_down += of_up.mT
        if bias is not None and needs_bias:
            grad_bias = grad_out[-1].to(bias.dtype)
    elif bias is not None and needs_bias:
        grad_bias = grad.sum(0, dtype=bias.dtype)
    return grad_down, grad_c, grad_up, grad_bias


def _kernels(x: Tensor) -> ModuleType | None:
    """The Triton kernels, where they are asked for."""
    if not x.is_cuda or x.dtype == torch.float64 or os.environ.get("ARCVIT_TRITON") != "1":
        return None
    from arcvit.arc import kernels

    return kernels


def _projections(
    down: Tensor, coefficients: Tensor, up: Tensor | None, bias: Tensor | None, work: torch.dtype
) -> tuple[Tensor, Tensor]:
    """``(D * c)^T``, (r, d), and ``[U; b]``, (r + 1, d), or U where there is no bias.

    Both row by row in memory; fp32 parameters are rounded once where the work is in less.
    """
    out_of = _out_of(down, up, bias, work)
    of_down = out_of[: len(coefficients)] if up is None and work == down.dtype else down.mT
    into = down.new_empty(down.shape[::-1])
    torch.mul(of_down, coefficients.unsqueeze(1), out=into)
    return into.to(work), out_of


def _out_of(down: Tensor, up: Tensor | None, bias: Tensor | None, work: torch.dtype) -> Tensor:
    out_of = (down.mT if up is None else up).to(work)
    if bias is None:
        return out_of.contiguous()
    return torch.cat([out_of, bias.to(work).unsqueeze(0)])


def _factor(dropout: float) -> float:
    """What the elements that dropout keeps are multiplied by."""
    return 1.0 / (1.0 - dropout)


def _kept(rows: int, r: int, dropout: float, device: torch.device) -> Tensor:
    """Which elements of u dropout keeps, (M, r) of 0 and 1, in int8: CPUs multiply slowly by bool.

    A CPU draws 16 bits an element, four elements a number: a quarter of the time of ``bernoulli_``,
    with the probability rounded to 1 / 65,536.
    """
    if device.type != "cpu":
        return torch.empty(rows, r, dtype=torch.int8, device=device).bernoulli_(1.0 - dropout)
    words = torch.empty(-(-rows * r // 4), dtype=torch.int64).random_(-(2**63), None)
    draws = words.view(torch.int16)[: rows * r].view(rows, r)
    return (draws >= min(round(dropout * 2**16), 2**16 - 1) - 2**15).view(torch.int8)


def _norm_dtype(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> torch.dtype:
    """The dtype of n: autocast decides in which precision a norm is taken, so it is asked."""
    if not _autocasts(x.device.type):
        return x.dtype
    return F.layer_norm(x.new_empty(0, x.shape[-1]), x.shape[-1:], weight, bias).dtype


def _work_dtype(x: Tensor, down: Tensor) -> torch.dtype:
    """The dtype of the bottleneck: that of the adapter, or of autocast."""
    if _autocasts(x.device.type) and down.dtype != torch.float64:
        return torch.get_autocast_dtype(x.device.type)
    return down.dtype


def _autocasts(device: str) -> bool:
    """Whether autocast is on; some devices (meta) have none."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def _autocast_off(device: str) -> AbstractContextManager[Any]:
    """Within it, the dtypes are ours."""
    return torch.autocast(device, enabled=False) if _autocasts(device) else nullcontext()


def _differentiable_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients by plain autograd, so that they can be differentiated in turn."""
    x, weight, norm_bias, down, coefficients, up, bias, bottleneck, kept, *_ = ctx.saved_tensors
    work = bottleneck.dtype
    with _autocast_off(x.device.type):
        dtype = ctx.norm_dtype
        normed = F.layer_norm(
            x.to(dtype), x.shape[-1:], _cast(weight, x, dtype), _cast(norm_bias, x, dtype), ctx.eps
        )
        inner = normed.to(work) @ (down * coefficients).to(work)
        if kept is not None:
            inner = inner * kept.view(inner.shape) * ctx.scale
        adapted = normed + inner @ (down.mT if up is None else up).to(work)
        if bias is not None:
            adapted = adapted + bias
        inputs = (x, weight, norm_bias, down, coefficients, up, bias)
        needed = [i for i, needs in enumerate(ctx.needs_input_grad[:7]) if needs]
        found = torch.autograd.grad(
            adapted.to(dtype), [inputs[i] for i in needed], grad, create_graph=True
        )
    gradients: list[Tensor | None] = [None] * 9
    for place, gradient in zip(needed, found, strict=True):
        gradients[place] = gradient
    return tuple(gradients)


def _cast(parameter: Tensor | None, x: Tensor, dtype: torch.dtype) -> Tensor | None:
    """A norm's parameter as it goes with x, which may be cast to another dtype for it."""
    return parameter if parameter is None or x.dtype == dtype else parameter.to(dtype)

"""LayerNorm and adapter as one operation that keeps next to nothing for the backward pass.

M  rows (B·N), d  width, r  bottleneck rank

    n = LayerNorm(x)    u = dropout(n (D * c))    y = n + [u 1] [U; b]  x, n, y: (M, d)   u: (M, r)

Separate modules keep n for the gradient of D, beside x for that of the norm. Here x, [u 1] and the
norm's statistics are kept, and a byte an element of u for its dropout. In one precision throughout
the backward pass takes g^T n from x and the statistics; else it computes n again. The bias rides in
the matrix products, where it and its gradient cost no pass over memory of their own. Small matrices
are laid out (r, d): a third faster in products with (M, d) on CPUs than (d, r).
Differentiating twice goes through the plain equations.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    normed, _, _ = _normalize(x, weight, norm_bias, node.eps, node.norm_dtype)
    out_of = _out_of(down, up, bias, bottleneck.dtype)
    return _add_update(normed.view(-1, x.shape[-1]), bottleneck, out_of).view(x.shape)


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
        ctx.scale = 1.0 / (1.0 - dropout)
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
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """The adapted tensor (..., d); for the backward pass [u 1] (M, r + 1), which elements dropout
    kept (M, r), and mean and 1 / deviation of each row (..., 1), where they are of use.
    """
    d, r = down.shape
    autocast = _autocasts(x.device.type)
    mean = rstd = None
    if x.dtype == down.dtype and x.dtype in _EXACT and not autocast:
        normed, mean, rstd = torch.native_layer_norm(x, (d,), weight, norm_bias, eps)
    else:
        # Autocast decides in which precision the norm is taken, as it does for the module itself.
        normed = F.layer_norm(x, (d,), weight, norm_bias, eps)
    normed = normed.reshape(-1, d)
    work = _work_dtype(normed, down)
    kept = None
    with _autocast_off(x.device.type):
        bottleneck = normed.new_empty(len(normed), r + (bias is not None), dtype=work)
        bottleneck[:, r:] = 1.0
        inner = bottleneck[:, :r]
        torch.mm(normed.to(work), _into(down, coefficients, work).mT, out=inner)
        if dropout > 0.0:
            kept = _kept(inner, dropout)
            inner.mul_(kept).mul_(1.0 / (1.0 - dropout))
        adapted = _add_update(normed, bottleneck, _out_of(down, up, bias, work))
    return adapted.view(x.shape), bottleneck, kept, mean, rstd


def _into(down: Tensor, coefficients: Tensor, work: torch.dtype) -> Tensor:
    """``(D * c)^T``, (r, d), row by row in memory."""
    into = down.new_empty(down.shape[::-1])
    return torch.mul(down.mT, coefficients.unsqueeze(1), out=into).to(work)


def _out_of(down: Tensor, up: Tensor | None, bias: Tensor | None, work: torch.dtype) -> Tensor:
    """``[U; b]``, (r + 1, d), or U where there is no bias, row by row in memory."""
    out_of = (down.mT if up is None else up).to(work)
    if bias is None:
        return out_of.contiguous()
    return torch.cat([out_of, bias.to(work).unsqueeze(0)])


def _kept(bottleneck: Tensor, dropout: float) -> Tensor:
    """Which elements of u dropout keeps, (M, r) bool.

    A CPU draws 16 bits an element, four elements a number: a quarter of the time of ``bernoulli_``,
    with the probability rounded to 1 / 65,536.
    """
    if bottleneck.device.type != "cpu":
        return torch.empty_like(bottleneck, dtype=torch.bool).bernoulli_(1.0 - dropout)
    count = bottleneck.numel()
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    draws = words.view(torch.int16)[:count].view(bottleneck.shape)
    return draws >= min(round(dropout * 2**16), 2**16 - 1) - 2**15


def _add_update(normed: Tensor, bottleneck: Tensor, out_of: Tensor) -> Tensor:
    """``n + [u 1] [U; b]`` in the dtype of n, (M, d); n is overwritten where it can be."""
    work = bottleneck.dtype
    if work == torch.promote_types(work, normed.dtype):
        return normed.to(work).addmm_(bottleneck, out_of).to(normed.dtype)
    return normed.add_(bottleneck @ out_of)


def _work_dtype(normed: Tensor, down: Tensor) -> torch.dtype:
    """The dtype of the bottleneck: that of the adapter, or of autocast."""
    device = normed.device.type
    if _autocasts(device) and down.dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    return down.dtype


def _autocasts(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def _autocast_off(device: str) -> AbstractContextManager[Any]:
    """Within it, the dtypes are ours; some devices (meta) have no autocast to turn off."""
    known = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if known else nullcontext()


def _normalize(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """n and the statistics that its backward pass takes, n in the dtype it had before."""
    if dtype != x.dtype:
        x, weight, bias = x.to(dtype), _cast(weight, dtype), _cast(bias, dtype)
    return torch.native_layer_norm(x, x.shape[-1:], weight, bias, eps)


def _cast(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if tensor is None else tensor.to(dtype)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, norm_bias, down, coefficients, up, bias, bottleneck, kept, mean, rstd = (
        ctx.saved_tensors
    )
    needs_x, needs_weight, needs_norm_bias, needs_down, needs_c, needs_up, needs_bias, *_ = (
        ctx.needs_input_grad
    )
    (d, r), work = down.shape, bottleneck.dtype
    grad = grad.reshape(-1, d)
    low = grad.to(work)
    into_bottleneck = low @ _out_of(down, up, None, work).mT
    if kept is not None:
        into_bottleneck.mul_(kept).mul_(ctx.scale)

    normed = None
    if mean is None:
        normed, mean, rstd = _normalize(x, weight, norm_bias, ctx.eps, ctx.norm_dtype)
    grad_down = grad_c = grad_up = grad_bias = None
    if needs_down or needs_c:
        if normed is None:
            rows = (x.reshape(-1, d), mean.view(-1, 1), rstd.view(-1, 1))
            grad_into = _transposed_times_normed(into_bottleneck, *rows, weight, norm_bias)
        else:
            grad_into = (into_bottleneck.mT @ normed.view(-1, d).to(work)).to(down.dtype)
        grad_c = (grad_into * down.mT).sum(1) if needs_c else None
        grad_down = (grad_into * coefficients.unsqueeze(1)).mT if needs_down else None
    if needs_up or (needs_down and up is None):
        grad_out = (bottleneck.mT @ low).to(down.dtype)
        if up is None:
            assert grad_down is not None
            grad_down += grad_out[:r].mT
        else:
            grad_up = grad_out[:r]
        grad_bias = grad_out[r].to(bias.dtype) if needs_bias else None
    elif needs_bias:
        grad_bias = grad.sum(0, dtype=bias.dtype)

    grad_x = grad_weight = grad_norm_bias = None
    if needs_x or needs_weight or needs_norm_bias:
        wide = torch.promote_types(work, grad.dtype)
        into = (down * coefficients).to(work).mT
        if work == wide:
            grad_normed = torch.addmm(grad.to(work), into_bottleneck, into)
        else:
            grad_normed = (into_bottleneck @ into).to(wide).add_(grad)
        same = ctx.norm_dtype == x.dtype
        grad_x, grad_weight, grad_norm_bias = torch.ops.aten.native_layer_norm_backward(
            grad_normed.to(ctx.norm_dtype).view(x.shape),
            x if same else x.to(ctx.norm_dtype),
            (d,),
            mean,
            rstd,
            weight if same else _cast(weight, ctx.norm_dtype),
            norm_bias if same else _cast(norm_bias, ctx.norm_dtype),
            (needs_x, needs_weight, needs_norm_bias),
        )
        grad_x = _cast(grad_x, x.dtype)
        if not same and weight is not None:
            grad_weight, grad_norm_bias = (
                _cast(g, weight.dtype) for g in (grad_weight, grad_norm_bias)
            )
    return (
        grad_x, grad_weight, grad_norm_bias, grad_down, grad_c, grad_up, grad_bias, None, None
    )  # fmt: skip


def _transposed_times_normed(
    g: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """``g^T n``, (r, d), for g (M, r) and n = LayerNorm(x), without making n.

    With ``n = w (x - mean) rstd + b`` it is ``w (h^T x - h^T mean 1) + g^T 1 b``, h = rstd g.
    """
    h = g * rstd
    found = (h.mT @ x).sub_(h.mT @ mean)
    if weight is not None:
        found *= weight
    if bias is not None:
        found.addr_(g.sum(0), bias)
    return found


def _differentiable_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients by plain autograd, so that they can be differentiated in turn."""
    x, weight, norm_bias, down, coefficients, up, bias, bottleneck, kept, *_ = ctx.saved_tensors
    work = bottleneck.dtype
    with _autocast_off(x.device.type):
        dtype = ctx.norm_dtype
        normed = F.layer_norm(
            x.to(dtype), x.shape[-1:], _cast(weight, dtype), _cast(norm_bias, dtype), ctx.eps
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

"""LayerNorm and adapter as one operation.

M  rows (B·N), d  width, r  bottleneck rank, w  columns of the bottleneck, at least r + 1

    n = LayerNorm(x)    u = dropout(n D C)    y = n + [u 1 0] [U; b; 0]    x, n, y: (M, d)

With a full C it stands on the other side: ``u = dropout(n D)``, ``[C U; b; 0]``.

The products are those of ``arcvit.arc.bottleneck``. On a CPU the bottleneck lies transposed in
memory in fp32: BLAS fills its vectors along the last dimension, and M leaves less of them empty
than r + 1 does.

Two ways lead to y. Compiled (and under function transforms) plain operations do, which a compiler
fuses better than kernels of one's own were measured to be. Eager, an autograd function does: plain
operations would keep n for the gradient of D beside x for that of the norm, it keeps x, the
bottleneck, the norm's statistics and a byte an element for dropout.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arcvit.arc.added import added
from arcvit.arc.bottleneck import Projections, autocasts, columns, drawn, projections, work_dtype
from arcvit.arc.functional import Factors

_EXACT = (torch.float32, torch.float64)
"""Where differences of sums over rows are as good as sums of differences."""

_PLAIN_NORMS = {"torch.nn.modules.normalization.LayerNorm", "timm.layers.norm.LayerNorm"}
"""Classes whose forward is ``F.layer_norm``; others compute in another precision or layout."""


class _How(NamedTuple):
    """What is no tensor: a site's column of ones, the norm's eps, dropout, dtypes of n and y."""

    ones: int | None
    eps: float
    dropout: float
    normed: torch.dtype
    out: torch.dtype


def norm_adapter(
    x: Tensor, norm: nn.LayerNorm, adapter: Factors | Projections, *, dropout: float = 0.0
) -> Tensor:
    """The adapted output of a LayerNorm, ``n + dropout(n D) C U + b`` with n of x.

    Args:
        x: input of the norm, (..., d).
        norm: the LayerNorm, over the last dimension.
        adapter: the adapter, or what ``projections`` made of it.
        dropout: probability of dropping an element of the bottleneck; 0 in evaluation.

    Returns:
        (..., d), in autocast's dtype where it is on, as that is what linear layers take; else in
        the dtype of the norm's output.
    """
    if isinstance(adapter, Factors):
        width = columns(x, adapter)
        adapter = projections(adapter, dropout, work_dtype(x, adapter.down), width)
    into, out_of, ones = adapter
    normed = _norm_dtype(x, norm)
    out = into.dtype if autocasts(x) and into.dtype != torch.float64 else normed
    how = _How(ones, norm.eps, dropout, normed, out)
    tensors = (x, norm.weight, norm.bias, into, out_of)
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return _plain(*tensors, how)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        adapted: Tensor = NormAdapter.apply(*tensors, how)
        return adapted
    return _forward(*tensors, how)[0]


def is_plain_norm(module: nn.Module) -> TypeGuard[nn.LayerNorm]:
    """Whether a module is a LayerNorm over the last dimension that nobody has changed or watches.

    A hook on it, a forward of its own or a parametrization must see its output, so it is called.
    """
    kind = type(module)
    return (
        isinstance(module, nn.LayerNorm)
        and f"{kind.__module__}.{kind.__qualname__}" in _PLAIN_NORMS
        and not getattr(module, "_fast_norm", False)
        and len(module.normalized_shape) == 1
        and "forward" not in vars(module)
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and not module._backward_hooks
        and not module._backward_pre_hooks
        and not torch.nn.modules.module._has_any_global_hook()
    )


def computed_again(adapted: Tensor) -> Any:
    """The node of a fused site whose output this is, for ``output_again``; None for any other."""
    node = adapted.grad_fn
    return node if isinstance(node, NormAdapter._backward_cls) else None


def output_again(node: Any) -> Tensor:
    """The output of a fused site, computed from what the site keeps, before its backward pass."""
    x, weight, norm_bias, _, out_of, bottleneck, *_ = node.saved_tensors
    rows = x.reshape(-1, x.shape[-1])
    normed, _, _ = _normalize(rows, weight, norm_bias, node.how)
    return _add_update(normed, bottleneck, out_of, node.how.out).view(x.shape)


def _plain(
    x: Tensor,
    weight: Tensor | None,
    norm_bias: Tensor | None,
    into: Tensor,
    out_of: Tensor,
    how: _How,
    kept: Tensor | None = None,
) -> Tensor:
    """The adapted tensor, (..., d), in operations that can be compiled and differentiated twice.

    ``kept``: which elements of the bottleneck dropout keeps, (M, w); None: they are drawn here.
    """
    width, d = into.shape
    cast = (_cast(weight, how.normed), _cast(norm_bias, how.normed))
    n = F.layer_norm(x.to(how.normed), (d,), *cast, how.eps).reshape(-1, d)
    n = n.to(torch.promote_types(how.out, into.dtype))
    u = n.to(into.dtype) @ into.mT
    if kept is None and how.dropout > 0.0:
        kept = torch.rand(u.shape, device=u.device) >= how.dropout
    if kept is not None:
        u = u * kept
    if how.ones is not None:
        u = u + (torch.arange(width, device=u.device) == how.ones).to(u.dtype)
    return added(n, u, out_of).to(how.out).view(x.shape)


class NormAdapter(torch.autograd.Function):
    """The autograd function of ``norm_adapter``; its arguments are those of ``_plain``."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """See ``norm_adapter``."""
        adapted, *for_backward = _forward(*given)
        *tensors, ctx.how = given
        ctx.save_for_backward(*tensors, *for_backward)
        return adapted

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of all tensors that need one."""
        with _autocast_off(grad):
            if torch.is_grad_enabled():  # create_graph: the gradient is differentiated again
                found = _differentiable_gradients(ctx, grad)
            else:
                found = _gradients(ctx, grad)
        return *found, None


def _forward(
    x: Tensor,
    weight: Tensor | None,
    norm_bias: Tensor | None,
    into: Tensor,
    out_of: Tensor,
    how: _How,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
    """The adapted tensor (..., d), and for the backward pass: the bottleneck (M, w), which elements
    dropout kept (M, w), mean and 1 / deviation of each row.
    """
    rows = x.reshape(-1, x.shape[-1])
    with _autocast_off(x):
        n, mean, rstd = _normalize(rows, weight, norm_bias, how)
        if how.out == into.dtype:
            n = n.to(how.out)
        bottleneck = _thin(n.to(into.dtype), into.mT)
        kept = drawn(bottleneck, how.dropout) if how.dropout > 0.0 else None
        if kept is not None:
            bottleneck.mul_(kept)
        if how.ones is not None:
            bottleneck[:, how.ones] = 1.0
        adapted = _add_update(n, bottleneck, out_of, how.out)
    return adapted.view(x.shape), bottleneck, kept, mean, rstd


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of x, the norm's weight and bias, ``into`` and ``out_of``."""
    x, weight, norm_bias, into, out_of, bottleneck, kept, mean, rstd = ctx.saved_tensors
    *needs_of_norm, needs_into, needs_out_of = ctx.needs_input_grad[:5]
    rows, grad = x.reshape(-1, x.shape[-1]), grad.reshape(-1, x.shape[-1])
    grad_into = grad_out_of = None
    of_norm: list[Tensor | None] = [None, None, None]
    work = into.dtype
    if needs_out_of:
        grad_out_of = bottleneck.mT @ grad.to(work)
    if any(needs_of_norm) or needs_into:
        inner = _thin(grad.to(work), out_of.mT)
        if kept is not None:
            inner.mul_(kept)
    if needs_into:
        if x.dtype == work == ctx.how.normed and work in _EXACT:
            grad_into = _transposed_times_normed(inner, rows, mean, rstd, weight, norm_bias)
        else:
            n, _, _ = _normalize(rows, weight, norm_bias, ctx.how)
            grad_into = inner.mT @ n.to(work)
    if any(needs_of_norm):
        wide = torch.promote_types(work, grad.dtype)
        if work == wide:
            grad_n = torch.addmm(grad.to(work), inner, into)
        else:
            grad_n = (inner @ into).to(wide).add_(grad)
        cast = [t if t is None else t.to(ctx.how.normed) for t in (rows, weight, norm_bias)]
        found = torch.ops.aten.native_layer_norm_backward(
            grad_n.to(ctx.how.normed), cast[0], x.shape[-1:], mean, rstd, *cast[1:], needs_of_norm
        )
        of_norm = [
            None if gradient is None or to is None else gradient.to(to.dtype).view(to.shape)
            for gradient, to in zip(found, (x, weight, norm_bias), strict=True)
        ]
    return *of_norm, grad_into, grad_out_of


def _differentiable_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """What ``_gradients`` gives, by plain autograd, so that it can be differentiated in turn."""
    x, weight, norm_bias, into, out_of, _, kept, *_ = ctx.saved_tensors
    inputs = (x, weight, norm_bias, into, out_of)
    adapted = _plain(*inputs, ctx.how, kept)
    needed = [i for i, needs in enumerate(ctx.needs_input_grad[:5]) if needs]
    found = torch.autograd.grad(adapted, [inputs[i] for i in needed], grad, create_graph=True)
    gradients: list[Tensor | None] = [None] * 5
    for place, gradient in zip(needed, found, strict=True):
        gradients[place] = gradient
    return tuple(gradients)


def _normalize(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, how: _How
) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNorm over the last dimension, and the statistics its backward pass takes."""
    cast = (_cast(weight, how.normed), _cast(bias, how.normed))
    return torch.native_layer_norm(x.to(how.normed), x.shape[-1:], *cast, how.eps)


def _thin(rows: Tensor, columns: Tensor) -> Tensor:
    """``rows @ columns`` for few columns; on CPUs transposed in memory, see above."""
    if rows.device.type == "cpu" and rows.dtype in _EXACT:
        return (columns.mT @ rows.mT).mT
    return rows @ columns


def _add_update(n: Tensor, bottleneck: Tensor, out_of: Tensor, out: torch.dtype) -> Tensor:
    """``n + [u 1 0] [U; b; 0]`` in the dtype ``out``, (M, d); n is overwritten where it can be."""
    work = bottleneck.dtype
    if work == torch.promote_types(work, out):
        return n.to(work).addmm_(bottleneck, out_of).to(out)
    return n.add_(bottleneck @ out_of)


def _transposed_times_normed(
    g: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """``g^T n``, (w, d), for g (M, w) and n = LayerNorm(x), without making n.

    With ``n = v (x - mean) rstd + b`` it is ``v (h^T x - h^T mean 1) + g^T 1 b``, h = rstd g.
    """
    h = g * rstd
    found = (h.mT @ x).sub_(h.mT @ mean)
    if weight is not None:
        found *= weight
    if bias is not None:
        found.addr_(g.sum(0), bias)
    return found


def _norm_dtype(x: Tensor, norm: nn.LayerNorm) -> torch.dtype:
    """The dtype of n: autocast decides in which precision a norm is taken, so it is asked.

    Unless x is in fp32 already: no autocast takes a norm in less.
    """
    if x.dtype == torch.float32 or not autocasts(x):
        return x.dtype
    return F.layer_norm(x.new_empty(0, x.shape[-1]), x.shape[-1:], norm.weight, norm.bias).dtype


def _autocast_off(x: Tensor) -> AbstractContextManager[Any]:
    """Within it, the dtypes are ours."""
    return torch.autocast(x.device.type, enabled=False) if autocasts(x) else nullcontext()


def _cast(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if tensor is None else tensor.to(dtype)

"""LayerNorm and adapter in PyTorch's operations: what runs on CPUs, and the kernels' reference.

M  rows (B·N), d  width, r  bottleneck rank

The bias rides in the matrix products as a row of ones times b: neither it nor its gradient costs a
pass over memory of its own. Small matrices lie (r, d) in memory, which CPUs multiply with (M, d) a
third faster than (d, r).
"""

import torch
from torch import Tensor

Needs = tuple[bool, bool, bool]
"""Whether the norm's input, weight and bias need a gradient."""


def forward(
    x: Tensor,
    weight: Tensor | None,
    norm_bias: Tensor | None,
    into: Tensor,
    out_of: Tensor,
    kept: Tensor | None,
    *,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``y = n + [u 1] [U; b]`` with n = LayerNorm(x), u = n into^T where it is kept, else 0.

    Args:
        x: input of the norm, (M, d).
        weight: the norm's weight, (d,), or None.
        norm_bias: the norm's bias, (d,), or None.
        into: ``(D * c)^T``, (r, d), in the dtype of the products; c holds the factor of dropout.
        out_of: ``U``, (r, d), or ``[U; b]``, (r + 1, d), in the same dtype.
        kept: which elements of u dropout keeps, (M, r) of 0 and 1; None: all.
        eps: the norm's.
        dtype: of n and y.

    Returns:
        y (M, d), [u 1] (M, rows of out_of), and mean and 1 / deviation of each row, (M, 1).
    """
    normed, mean, rstd = normalize(x, weight, norm_bias, eps, dtype)
    bottleneck = normed.new_empty(len(x), len(out_of), dtype=into.dtype)
    bottleneck[:, len(into) :] = 1.0
    inner = bottleneck[:, : len(into)]
    torch.mm(normed.to(into.dtype), into.mT, out=inner)
    if kept is not None:
        inner.mul_(kept)
    return add_update(normed, bottleneck, out_of), bottleneck, mean, rstd


def normalize(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNorm over the last dimension in a dtype, and the statistics its backward pass takes."""
    if dtype != x.dtype:
        x, weight, bias = x.to(dtype), _cast(weight, dtype), _cast(bias, dtype)
    return torch.native_layer_norm(x, x.shape[-1:], weight, bias, eps)


def add_update(normed: Tensor, bottleneck: Tensor, out_of: Tensor) -> Tensor:
    """``n + [u 1] [U; b]`` in the dtype of n, (M, d); n is overwritten where it can be."""
    work = bottleneck.dtype
    if work == torch.promote_types(work, normed.dtype):
        return normed.to(work).addmm_(bottleneck, out_of).to(normed.dtype)
    return normed.add_(bottleneck @ out_of)


def backward_of_bottleneck(grad: Tensor, up: Tensor, kept: Tensor | None) -> Tensor:
    """Gradient of the bottleneck before dropout, (M, r).

    Args:
        grad: gradient of y, (M, d).
        up: ``U``, (r, d), in the dtype of the products.
        kept: which elements of u dropout kept, (M, r) of 0 and 1; None: all.
    """
    inner = grad.to(up.dtype) @ up.mT
    if kept is not None:
        inner.mul_(kept)
    return inner


def backward_of_norm(
    grad: Tensor,
    inner: Tensor,
    into: Tensor,
    x: Tensor,
    weight: Tensor | None,
    norm_bias: Tensor | None,
    mean: Tensor,
    rstd: Tensor,
    *,
    dtype: torch.dtype,
    needs: Needs,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the norm's input, weight and bias, where they are needed.

    Args:
        grad: gradient of y, (M, d).
        inner: gradient of the bottleneck before dropout, (M, r).
        into: ``(D * c)^T``, (r, d), as in ``forward``.
        x: input of the norm, (M, d).
        weight: the norm's weight, (d,), or None.
        norm_bias: the norm's bias, (d,), or None.
        mean: of each row, (M, 1).
        rstd: 1 / deviation of each row, (M, 1).
        dtype: of n.
        needs: which are needed.
    """
    wide = torch.promote_types(inner.dtype, grad.dtype)
    grad_normed = (inner @ into).to(wide).add_(grad)
    given = (x, weight, norm_bias)
    if dtype == x.dtype:
        cast = given
    else:
        cast = (x.to(dtype), _cast(weight, dtype), _cast(norm_bias, dtype))
    found = torch.ops.aten.native_layer_norm_backward(
        grad_normed.to(dtype), cast[0], x.shape[-1:], mean, rstd, cast[1], cast[2], needs
    )
    grad_x, grad_weight, grad_bias = (
        None if gradient is None or to is None else gradient.to(to.dtype)
        for gradient, to in zip(found, given, strict=True)
    )
    return grad_x, grad_weight, grad_bias


def transposed_times_normed(
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


def _cast(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if tensor is None else tensor.to(dtype)

"""LayerNorm and adapter as Triton kernels: a row is read from memory once and written once.

M  rows (B·N), d  width, r  bottleneck rank, P  r padded to what tensor cores take

A program owns BLOCK_M rows and walks over d in blocks: once for the statistics, once for the
bottleneck, once for the output. Only the first walk reads the rows from the device's memory, the
others find them in the caches. The parameters' gradients, which sum over all rows, are left to two
matrix products. ``arc.fused`` is the reference in PyTorch that the kernels are tested against.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_M, BLOCK_D, WARPS = 32, 64, 8
"""The largest blocks for which the compiler spills no register on compute capability 9.0."""


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

    Takes and gives what ``arc.fused_torch.forward`` does, with ``into`` and ``out_of`` contiguous
    and the statistics in fp32.
    """
    x = x.contiguous()
    (rows, d), r = x.shape, len(into)
    y = torch.empty_like(x, dtype=dtype)
    bottleneck = x.new_ones(rows, len(out_of), dtype=into.dtype)
    mean, rstd = (x.new_empty(rows, 1, dtype=torch.float32) for _ in range(2))
    if rows:
        _forward[(triton.cdiv(rows, BLOCK_M),)](
            x, weight, norm_bias, into, out_of, kept, y, bottleneck, mean, rstd, rows, eps,
            D=d, R=r, COLUMNS=len(out_of), **_blocks(d, r, into.dtype),
        )  # fmt: skip
    return y, bottleneck, mean, rstd


def backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    rstd: Tensor,
    into: Tensor,
    up: Tensor,
    kept: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Gradients of x (M, d) and of the bottleneck before dropout (M, r).

    Args:
        grad: gradient of y, (M, d).
        x: input of the norm, (M, d).
        weight: the norm's weight, (d,), or None.
        mean: of each row, (M, 1).
        rstd: 1 / deviation of each row, (M, 1).
        into: ``(D * c)^T``, (r, d), contiguous, in the dtype of the products; c holds the factor of
            dropout.
        up: ``U``, (r, d), contiguous, in the same dtype.
        kept: which elements of u dropout kept, (M, r) of 0 and 1; None: all.
    """
    grad, x = grad.contiguous(), x.contiguous()
    (rows, d), r = x.shape, len(into)
    grad_x = torch.empty_like(x)
    into_bottleneck = x.new_empty(rows, r, dtype=into.dtype)
    if rows:
        _backward[(triton.cdiv(rows, BLOCK_M),)](
            grad, x, weight, mean, rstd, into, up, kept, grad_x, into_bottleneck, rows,
            D=d, R=r, **_blocks(d, r, into.dtype),
        )  # fmt: skip
    return grad_x, into_bottleneck


def _blocks(d: int, r: int, dtype: torch.dtype) -> dict[str, Any]:
    """Sizes of the blocks; tensor cores take 16 at least, and fp32 exactly only if told so."""
    exact = dtype == torch.float32 and not torch.backends.cuda.matmul.allow_tf32
    return {
        "PADDED": max(16, triton.next_power_of_2(r)),
        "BLOCK_M": BLOCK_M,
        "BLOCK_D": min(BLOCK_D, max(16, triton.next_power_of_2(d))),
        "PRECISION": "ieee" if exact else "tf32",
        "num_warps": WARPS,
    }


@triton.jit
def _normed(x, weight, norm_bias, at, inside, columns, in_width, mean, rstd, dtype):
    """A block of n in its dtype, (BLOCK_M, BLOCK_D)."""
    n = (tl.load(x + at, mask=inside, other=0.0).to(tl.float32) - mean[:, None]) * rstd[:, None]
    if weight is not None:
        n *= tl.load(weight + columns, mask=in_width, other=0.0).to(tl.float32)[None, :]
    if norm_bias is not None:
        n += tl.load(norm_bias + columns, mask=in_width, other=0.0).to(tl.float32)[None, :]
    return n.to(dtype)


@triton.jit
def _forward(
    x, weight, norm_bias, into, out_of, kept, y, bottleneck, mean_of, rstd_of, rows, eps,
    D, R: tl.constexpr, COLUMNS: tl.constexpr, PADDED: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    # Places within a program's rows fit 32 bits; where its rows start need not.
    first_row = tl.program_id(0).to(tl.int64) * BLOCK_M
    x += first_row * D
    y += first_row * D
    bottleneck += first_row * COLUMNS
    mean_of += first_row
    rstd_of += first_row
    row = tl.arange(0, BLOCK_M)
    column = tl.arange(0, BLOCK_D)
    rank = tl.arange(0, PADDED)
    there = row < rows - first_row
    start = row * D
    dtype = y.dtype.element_ty
    work = into.dtype.element_ty

    # Blocks of a row are merged into its mean and its sum of squares (Chan et al., 1979).
    mean = tl.zeros([BLOCK_M], tl.float32)
    squares = tl.zeros([BLOCK_M], tl.float32)
    for first in range(0, D, BLOCK_D):
        columns = first + column
        inside = there[:, None] & (columns < D)[None, :]
        values = tl.load(x + start[:, None] + columns[None, :], mask=inside, other=0.0)
        values = values.to(tl.float32)
        count = min(BLOCK_D, D - first)
        block_mean = tl.sum(values, 1) / count
        apart = tl.where((columns < D)[None, :], values - block_mean[:, None], 0.0)
        shift = block_mean - mean
        mean += shift * count / (first + count)
        squares += tl.sum(apart * apart, 1) + shift * shift * first * count / (first + count)
    rstd = 1.0 / tl.sqrt(squares / D + eps)
    tl.store(mean_of + row, mean, mask=there)
    tl.store(rstd_of + row, rstd, mask=there)

    inner = tl.zeros([BLOCK_M, PADDED], tl.float32)
    for first in range(0, D, BLOCK_D):
        columns = first + column
        in_width = columns < D
        at = start[:, None] + columns[None, :]
        inside = there[:, None] & in_width[None, :]
        n = _normed(x, weight, norm_bias, at, inside, columns, in_width, mean, rstd, dtype)
        n = tl.where(inside, n, 0.0)
        matrix = tl.load(
            into + rank[None, :] * D + columns[:, None],
            mask=(rank < R)[None, :] & in_width[:, None],
            other=0.0,
        )
        inner = tl.dot(n.to(work), matrix, inner, input_precision=PRECISION)
    of_rank = there[:, None] & (rank < R)[None, :]
    if kept is not None:
        kept += first_row * R
        keep = tl.load(kept + row[:, None] * R + rank[None, :], mask=of_rank, other=0)
        inner = tl.where(keep != 0, inner, 0.0)
    inner = inner.to(work)
    tl.store(bottleneck + row[:, None] * COLUMNS + rank[None, :], inner, mask=of_rank)

    for first in range(0, D, BLOCK_D):
        columns = first + column
        in_width = columns < D
        at = start[:, None] + columns[None, :]
        inside = there[:, None] & in_width[None, :]
        n = _normed(x, weight, norm_bias, at, inside, columns, in_width, mean, rstd, dtype)
        matrix = tl.load(
            out_of + rank[:, None] * D + columns[None, :],
            mask=(rank < R)[:, None] & in_width[None, :],
            other=0.0,
        )
        update = tl.dot(inner, matrix, input_precision=PRECISION)
        if COLUMNS > R:
            bias = tl.load(out_of + R * D + columns, mask=in_width, other=0.0)
            update += bias.to(tl.float32)[None, :]
        tl.store(y + at, (n.to(tl.float32) + update).to(dtype), mask=inside)


@triton.jit
def _backward(
    grad, x, weight, mean_of, rstd_of, into, up, kept, grad_x, into_bottleneck, rows,
    D, R: tl.constexpr, PADDED: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    first_row = tl.program_id(0).to(tl.int64) * BLOCK_M
    grad += first_row * D
    x += first_row * D
    grad_x += first_row * D
    into_bottleneck += first_row * R
    row = tl.arange(0, BLOCK_M)
    column = tl.arange(0, BLOCK_D)
    rank = tl.arange(0, PADDED)
    there = row < rows - first_row
    start = row * D
    work = into.dtype.element_ty

    inner = tl.zeros([BLOCK_M, PADDED], tl.float32)
    for first in range(0, D, BLOCK_D):
        columns = first + column
        in_width = columns < D
        inside = there[:, None] & in_width[None, :]
        g = tl.load(grad + start[:, None] + columns[None, :], mask=inside, other=0.0)
        matrix = tl.load(
            up + rank[None, :] * D + columns[:, None],
            mask=(rank < R)[None, :] & in_width[:, None],
            other=0.0,
        )
        inner = tl.dot(g.to(work), matrix, inner, input_precision=PRECISION)
    of_rank = there[:, None] & (rank < R)[None, :]
    in_rank = row[:, None] * R + rank[None, :]
    if kept is not None:
        keep = tl.load(kept + first_row * R + in_rank, mask=of_rank, other=0)
        inner = tl.where(keep != 0, inner, 0.0)
    inner = inner.to(work)
    tl.store(into_bottleneck + in_rank, inner, mask=of_rank)

    # Of g' = w * (gradient of n) the norm takes its mean and its mean against (x - mean) rstd.
    mean = tl.load(mean_of + first_row + row, mask=there, other=0.0)
    rstd = tl.load(rstd_of + first_row + row, mask=there, other=0.0)
    total = tl.zeros([BLOCK_M], tl.float32)
    against = tl.zeros([BLOCK_M], tl.float32)
    for first in range(0, D, BLOCK_D):
        g, normal, _, _ = _into_norm(
            grad, x, weight, into, inner, start, there, first + column, rank, mean, rstd,
            D, R, PRECISION,
        )  # fmt: skip
        total += tl.sum(g, 1)
        against += tl.sum(g * normal, 1)
    total /= D
    against /= D
    for first in range(0, D, BLOCK_D):
        g, normal, at, inside = _into_norm(
            grad, x, weight, into, inner, start, there, first + column, rank, mean, rstd,
            D, R, PRECISION,
        )  # fmt: skip
        out = (g - total[:, None] - normal * against[:, None]) * rstd[:, None]
        tl.store(grad_x + at, out.to(grad_x.dtype.element_ty), mask=inside)


@triton.jit
def _into_norm(
    grad, x, weight, into, inner, start, there, columns, rank, mean, rstd,
    D, R: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A block of g' and of (x - mean) rstd, zero outside; where it is, and what is inside."""
    in_width = columns < D
    at = start[:, None] + columns[None, :]
    inside = there[:, None] & in_width[None, :]
    matrix = tl.load(
        into + rank[:, None] * D + columns[None, :],
        mask=(rank < R)[:, None] & in_width[None, :],
        other=0.0,
    )
    g = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
    g += tl.dot(inner, matrix, input_precision=PRECISION)
    if weight is not None:
        g *= tl.load(weight + columns, mask=in_width, other=0.0).to(tl.float32)[None, :]
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    normal = tl.where(inside, (values - mean[:, None]) * rstd[:, None], 0.0)
    return g, normal, at, inside

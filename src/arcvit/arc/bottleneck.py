"""An adapter as the matrix products of a site take it.

d  width, r  bottleneck rank, w  columns of the bottleneck, at least r + 1

The bias rides in the products as a row that a column of ones selects, so that neither it nor its
gradient costs a pass over memory. Zeros fill the bottleneck up to a multiple of 16 columns where
that decides which kernels run: everywhere but on the CPU.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from arcvit.arc.functional import Factors


class Projections(NamedTuple):
    """An adapter as the products take it.

    Attributes:
        into: ``(D C)^T`` and rows of zeros, (w, d), in the dtype of the products; C holds the
            factor of dropout. With a full C, ``D^T``.
        out_of: ``[U; b; 0]``, (w, d), in the same dtype; with a full C, ``[C U; b; 0]``.
        ones: the column of the bottleneck that is one, for b; None: there is no b.
    """

    into: Tensor
    out_of: Tensor
    ones: int | None


def projections(factors: Factors, dropout: float, dtype: torch.dtype, width: int) -> Projections:
    """An adapter made ready for the products.

    Args:
        factors: the adapter.
        dropout: probability of dropping an element of the bottleneck.
        dtype: of the products.
        width: columns of the bottleneck.
    """
    down, core, up, bias = factors
    d, r = down.shape
    if dropout > 0.0:
        factors = Factors(down, core / (1.0 - dropout), up, bias)
    into = [factors.into.mT, down.new_zeros(width - r, d)]
    out_of = [factors.out_of, down.new_zeros(width - r, d)]
    if bias is not None:
        out_of[1:] = [bias.unsqueeze(0).to(down.dtype), down.new_zeros(width - r - 1, d)]
    ones = None if bias is None else r
    return Projections(torch.cat(into).to(dtype), torch.cat(out_of).to(dtype), ones)


def columns(x: Tensor, factors: Factors) -> int:
    """Columns of the bottleneck of an adapter at x: CUDA's fast kernels are aligned."""
    used = factors.down.shape[1] + (factors.bias is not None)
    multiple = 1 if x.device.type == "cpu" and not torch.compiler.is_compiling() else 16
    return -(-used // multiple) * multiple


def drawn(bottleneck: Tensor, dropout: float) -> Tensor:
    """Which elements dropout keeps, (M, w) of 0 and 1, in the bottleneck's layout; in int8, as
    CPUs multiply slowly by bool.

    A CPU draws 16 bits an element, four elements a number: a quarter of the time of ``bernoulli_``,
    with the probability rounded to 1 / 65,536.
    """
    if bottleneck.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.empty_like(bottleneck, dtype=torch.int8).bernoulli_(1.0 - dropout)
    size = bottleneck.numel()
    words = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None)
    draws = words.view(torch.int16)[:size].as_strided(bottleneck.shape, bottleneck.stride())
    # In place, as a comparison that changes the dtype takes twice the time.
    return draws.ge_(min(round(dropout * 2**16), 2**16 - 1) - 2**15).to(torch.int8)


def work_dtype(x: Tensor, down: Tensor) -> torch.dtype:
    """The dtype of the bottleneck: that of the adapter, or of autocast."""
    if autocasts(x) and down.dtype != torch.float64:
        return torch.get_autocast_dtype(x.device.type)
    return down.dtype


def autocasts(x: Tensor) -> bool:
    """Whether autocast is on; some devices (meta) have none, and Dynamo can't ask which."""
    device = x.device.type
    known = torch.compiler.is_compiling() or torch.amp.is_autocast_available(device)
    return known and torch.is_autocast_enabled(device)

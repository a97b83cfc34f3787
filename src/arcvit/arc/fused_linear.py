"""An adapter on the output of a linear layer, in two thin products.

M  rows (B·N), d  width, r  bottleneck rank, w  columns of the bottleneck, at least r + 1

    u = dropout(z D C)    y = z + [u 1 0] [U; b; 0]    z, y: (M, d)
"""

import torch
from torch import Tensor

from arcvit.arc.added import added
from arcvit.arc.bottleneck import Projections, columns, drawn, projections, work_dtype
from arcvit.arc.functional import Factors


def linear_adapter(z: Tensor, adapter: Factors | Projections, *, dropout: float = 0.0) -> Tensor:
    """The adapted output of a linear layer, ``z + dropout(z D) C U + b``.

    Args:
        z: output of the layer, (..., d).
        adapter: the adapter, or what ``projections`` made of it.
        dropout: probability of dropping an element of the bottleneck; 0 in evaluation.

    Returns:
        (..., d), in the dtype of z.
    """
    if isinstance(adapter, Factors):
        width = columns(z, adapter)
        adapter = projections(adapter, dropout, work_dtype(z, adapter.down), width)
    into, out_of, ones = adapter
    rows = z.reshape(-1, z.shape[-1])
    u = rows.to(into.dtype) @ into.mT
    if dropout > 0.0:
        u = u * drawn(u, dropout)
    if ones is not None:
        u = u + (torch.arange(len(into), device=u.device) == ones).to(u.dtype)
    if u.dtype == z.dtype and not torch.compiler.is_compiling():
        return torch.addmm(rows, u, out_of).view(z.shape)
    return added(rows, u, out_of).to(z.dtype).view(z.shape)

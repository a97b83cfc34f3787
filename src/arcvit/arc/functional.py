"""The equations of ARC as pure functions (arXiv 2310.06234, section 3).

B  batch, N  tokens, d  width, r  bottleneck rank, o  outputs of a consumer

    y = x + dropout(x (D * c)) D^T + b          x, y: (..., d)   D: (d, r)   c: (r,)   b: (d,)

D is the down-projection, its transpose the up-projection. D is shared by the layers of one role;
the re-scaling coefficients c and the bias b belong to one layer. There is no non-linearity, so a
linear layer W that consumes y absorbs the adapter: ``W' = W (I + (D * c) D^T)``,
``bias' = bias + W b``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def adapter_update(
    x: Tensor,
    down: Tensor,
    coefficients: Tensor,
    up: Tensor,
    bias: Tensor | None = None,
    *,
    dropout: float = 0.0,
    training: bool = False,
) -> Tensor:
    """What the adapter adds to its input: ``dropout(x (D * c)) U + b``.

    Args:
        x: input, (..., d).
        down: down-projection D, (d, r).
        coefficients: re-scaling coefficients c, (r,).
        up: up-projection U, (r, d); ``D^T`` in the paper.
        bias: b, (d,), or None.
        dropout: probability of dropping an element of the bottleneck, after the re-scaling.
        training: whether dropout acts.

    Returns:
        The update, (..., d).
    """
    bottleneck = F.linear(x, (down * coefficients).mT)
    if training and dropout > 0.0:
        bottleneck = F.dropout(bottleneck, dropout)
    return F.linear(bottleneck, up.mT, bias)


def fold_weight(weight: Tensor, down: Tensor, coefficients: Tensor, up: Tensor) -> Tensor:
    """What folding adds to a consumer's weight (o, d): ``W U^T (D * c)^T``, (o, d).

    With the paper's symmetric up-projection that is ``W D diag(c) D^T``.
    """
    return (weight @ up.mT) @ (down * coefficients).mT


def fold_bias(weight: Tensor, bias: Tensor) -> Tensor:
    """What folding adds to a consumer's bias: ``W b``, (o,) for a weight (o, d) and b (d,)."""
    return torch.mv(weight, bias)

"""The equations of ARC as pure functions (arXiv 2310.06234, section 3).

B  batch, N  tokens, d  width, r  bottleneck rank, o  outputs of a consumer

    y = x + dropout(x D) C U + b        x, y: (..., d)   D: (d, r)   C: (r, r)   U: (r, d)   b: (d,)

In the paper C is diagonal, the re-scaling coefficients c, and U is D^T: D is shared by the layers
of one role, c and b belong to one layer. There is no non-linearity, so a linear layer W that
consumes y absorbs the adapter: ``W' = W (I + D C U)^T``, ``bias' = bias + W b``.

No product has more than r columns for it: a diagonal C scales D first, and a full one is multiplied
with U, so that a D that isn't trained needs no gradient.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Factors(NamedTuple):
    """An adapter as the equations take it, whatever it is made of.

    Attributes:
        down: down-projection D, (d, r).
        core: C, (r, r), or its diagonal, (r,).
        up: up-projection U, (r, d).
        bias: b, (d,), or None.
    """

    down: Tensor
    core: Tensor
    up: Tensor
    bias: Tensor | None = None

    @property
    def into(self) -> Tensor:
        """What leads into the bottleneck, (d, r): ``D C`` for a diagonal C, D for a full one."""
        return self.down * self.core if self.core.ndim == 1 else self.down

    @property
    def out_of(self) -> Tensor:
        """What leads out of it, (r, d): U for a diagonal C, ``C U`` for a full one."""
        return self.up if self.core.ndim == 1 else self.core @ self.up

    @property
    def is_symmetric(self) -> bool:
        """Whether U is the transposed D, a view of it."""
        same_memory = self.up.data_ptr() == self.down.data_ptr()
        return same_memory and self.up.stride() == self.down.stride()[::-1]

    def to(self, dtype: torch.dtype) -> "Factors":
        """In another precision."""
        bias = None if self.bias is None else self.bias.to(dtype)
        return Factors(self.down.to(dtype), self.core.to(dtype), self.up.to(dtype), bias)


class LoraFactors(NamedTuple):
    """An adapter as LoRA at the layer that it is folded into: ``W' = W + B A``.

    Attributes:
        a: A, (r, d).
        b: B, (o, r).
        bias: of B, (o,): what the layer's bias gains; or None.
    """

    a: Tensor
    b: Tensor
    bias: Tensor | None


def adapter_update(
    x: Tensor, factors: Factors, *, dropout: float = 0.0, training: bool = False
) -> Tensor:
    """What the adapter adds to its input: ``dropout(x D) C U + b``.

    Args:
        x: input, (..., d).
        factors: the adapter.
        dropout: probability of dropping an element of the bottleneck.
        training: whether dropout acts.

    Returns:
        The update, (..., d).
    """
    bottleneck = F.linear(x, factors.into.mT)
    if training and dropout > 0.0:
        bottleneck = F.dropout(bottleneck, dropout)
    return F.linear(bottleneck, factors.out_of.mT, factors.bias)


def adapt_rows(x: Tensor, rows: Factors, *, in_place: bool = False) -> Tensor:
    """Every row of a batch through its own adapter.

    Args:
        x: (B', ..., d), where B' is a multiple of B: windows of one image follow each other.
        rows: down (B, d, r) or, one for all rows, (d, r); core (B, 1, r) or (B, r, r); up (B, r, d)
            or (r, d); bias (B, 1, d) or None.
        in_place: whether x may be overwritten; it saves a pass over memory.

    Returns:
        The adapted tensor, in the shape and dtype of x.
    """
    batch = rows.core.shape[0]  # not len(), by which an exported graph would take this batch alone
    tokens = x.reshape(batch, -1, x.shape[-1]).to(rows.core.dtype)
    bottleneck = tokens @ rows.down
    # A core of one row is a diagonal; with r = 1 both are the same.
    bottleneck = bottleneck * rows.core if rows.core.shape[1] == 1 else bottleneck @ rows.core
    up = rows.up if rows.up.ndim == 3 else rows.up.expand(batch, -1, -1)
    if in_place:
        tokens.baddbmm_(bottleneck, up)
    else:
        tokens = torch.baddbmm(tokens, bottleneck, up)
    if rows.bias is not None:
        tokens += rows.bias
    return tokens.reshape(x.shape).to(x.dtype)


def lora_factors(weight: Tensor, factors: Factors) -> LoraFactors:
    """The adapter as exact rank-r factors of LoRA at a consumer: ``W' = W + B A``.

    Args:
        weight: the consumer's weight W, (o, d).
        factors: the adapter.

    Returns:
        A, (r, d); B, (o, r); and what the consumer's bias gains, (o,), or None.
    """
    bias = None if factors.bias is None else torch.mv(weight, factors.bias)
    return LoraFactors(factors.into.mT, weight @ factors.out_of.mT, bias)


def lora_factors_after(weight: Tensor, bias: Tensor | None, factors: Factors) -> LoraFactors:
    """The same of an adapter on a layer's own output: ``W' = (I + D C U)^T W``.

    Args:
        weight: the layer's weight W, (d, i).
        bias: its bias, (d,), or None.
        factors: the adapter.

    Returns:
        A, (r, i); B, (d, r); and what the layer's bias gains, (d,), or None.
    """
    into, out_of = factors.into.mT, factors.out_of.mT
    gained = [] if bias is None else [out_of @ (into @ bias)]
    gained += [] if factors.bias is None else [factors.bias]
    return LoraFactors(into @ weight, out_of, sum(gained[1:], gained[0]) if gained else None)

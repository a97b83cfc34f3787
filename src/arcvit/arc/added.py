"""A product added to a tensor, by which compiled code need not copy that tensor first."""

from typing import Any

import torch
from torch import Tensor


def added(n: Tensor, u: Tensor, out_of: Tensor) -> Tensor:
    """``n + u out_of``, (M, d), for n (M, d), u (M, w) and ``out_of`` (w, d)."""
    if torch.compiler.is_dynamo_compiling() and n.dtype == u.dtype:  # torch.export stays plain
        in_place: Tensor = _Added.apply(n, u, out_of)
        return in_place
    return n + u @ out_of


@torch.library.custom_op("arcvit::add_product_", mutates_args={"y"})
def add_product_(y: Tensor, a: Tensor, b: Tensor) -> None:
    """``y += a b``, which a compiler does not take apart."""
    y.addmm_(a, b)


@add_product_.register_fake
def _(y: Tensor, a: Tensor, b: Tensor) -> None:
    """Shapes stay."""


class _Added(torch.autograd.Function):
    """``n + u out_of`` for a compiler, which otherwise copies n to add the product to the copy.

    It drops the copy made here where nothing reads n afterwards: where the backward pass makes n
    anew from x, see ``arcvit.engine.compile``.
    """

    @staticmethod
    def forward(ctx: Any, n: Tensor, u: Tensor, out_of: Tensor) -> Tensor:
        """See ``added``."""
        ctx.save_for_backward(u, out_of)
        y = n.clone()
        add_product_(y, u, out_of)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of n, u and ``out_of``."""
        u, out_of = ctx.saved_tensors
        return grad, grad @ out_of.mT, u.mT @ grad

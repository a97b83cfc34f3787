"""Many tasks in one batch: every row through its own adapter, without a loop over adapters.

B  rows of the batch, N  tokens, d  width, r  bottleneck rank, K  adapters in the batch

A row without an adapter at a site has zero coefficients and bias there. Where all rows use one
projection, a single matrix product serves the whole batch; else the projections are gathered once
for all sites of a group, because they are shared between layers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BASE = "__base__"
"""The name of a row that gets no adapter."""


@dataclass(frozen=True, kw_only=True)
class RowAdapters:
    """The adapters of all rows at one site.

    Attributes:
        down: projections, (B, d, r), or one for all rows, (d, r).
        up: up-projections, (B, r, d) or (r, d).
        coefficients: re-scaling coefficients, (B, 1, r).
        bias: biases, (B, 1, d), or None where no row has one.
    """

    down: Tensor
    up: Tensor
    coefficients: Tensor
    bias: Tensor | None

    def adapt(self, x: Tensor) -> Tensor:
        """Every row through its own adapter.

        Args:
            x: (B', ..., d), where B' is a multiple of B: windows of one image follow each other.

        Returns:
            The adapted tensor, in the shape and dtype of x.
        """
        rows = len(self.coefficients)
        tokens = x.reshape(rows, -1, x.shape[-1]).to(self.coefficients.dtype)
        bottleneck = (tokens @ self.down) * self.coefficients
        kept = tokens if self.bias is None else tokens + self.bias
        up = self.up if self.up.ndim == 3 else self.up.expand(rows, -1, -1)
        return torch.baddbmm(kept, bottleneck, up).reshape(x.shape).to(x.dtype)


class ProjectionTable:
    """Gathers the projections of a batch's rows, once for all sites that share them."""

    def __init__(self) -> None:
        self._gathered: dict[tuple[object, ...], Tensor] = {}

    def rows(
        self, matrices: Sequence[Tensor | None], row_of: Tensor, dims: tuple[int, int]
    ) -> Tensor:
        """One matrix a row, (B, m, n), or the only one there is, (m, n).

        Args:
            matrices: for each adapter of the batch its matrix, smaller ones padded with zeros, or
                None.
            row_of: index of each row's adapter, (B,).
            dims: m and n.
        """
        distinct = {matrix.data_ptr(): matrix for matrix in matrices if matrix is not None}
        if len(distinct) == 1:
            (matrix,) = distinct.values()
            if matrix.shape == dims:
                return matrix
        key = (
            *(None if m is None else (m.data_ptr(), m.shape, m.stride()) for m in matrices),
            dims,
        )
        if key not in self._gathered:
            example = next(iter(distinct.values()))
            zeros = example.new_zeros(dims)
            stacked = torch.stack([zeros if m is None else _pad(m, dims) for m in matrices])
            self._gathered[key] = stacked[row_of]
        return self._gathered[key]


def row_vectors(vectors: Sequence[Tensor | None], row_of: Tensor, length: int) -> Tensor | None:
    """One vector a row, (B, 1, n), short ones padded with zeros; None where there are none.

    Args:
        vectors: for each adapter of the batch its vector, or None.
        row_of: index of each row's adapter, (B,).
        length: n.
    """
    example = next((v for v in vectors if v is not None), None)
    if example is None:
        return None
    zeros = example.new_zeros(length)
    stacked = torch.stack([zeros if v is None else F.pad(v, (0, length - len(v))) for v in vectors])
    return stacked[row_of].unsqueeze(1)


def row_logits(
    features: Tensor,
    heads: Sequence[tuple[Tensor, Tensor | None]],
    row_of: Tensor,
) -> Tensor:
    """Every row through its own head; logits of smaller heads are padded with -inf.

    Args:
        features: what reaches the head, (B, ..., d).
        heads: weight (k, d) and bias (k,) of each head of the batch.
        row_of: index of each row's head, (B,).

    Returns:
        (B, ..., K) with the size K of the largest head.
    """
    classes = max(len(weight) for weight, _ in heads)
    weights = torch.stack([_pad(weight, (classes, weight.shape[1])) for weight, _ in heads])
    biases = torch.stack(
        [
            F.pad(
                weight.new_zeros(len(weight)) if bias is None else bias,
                (0, classes - len(weight)),
                value=float("-inf"),
            )
            for weight, bias in heads
        ]
    )
    rows = len(features)
    flat = features.reshape(rows, -1, features.shape[-1])
    logits = torch.baddbmm(biases[row_of].unsqueeze(1), flat, weights[row_of].mT)
    return logits.reshape(*features.shape[:-1], classes)


def index_rows(names: Sequence[str], known: Callable[[str], bool]) -> tuple[list[str], list[int]]:
    """The distinct names of a batch in order of appearance, and each row's index into them.

    Raises:
        ValueError: a name that isn't known.
    """
    distinct = list(dict.fromkeys(names))
    unknown = [name for name in distinct if name != BASE and not known(name)]
    if unknown:
        raise ValueError(f"unknown adapter(s) {', '.join(map(repr, unknown))}")
    place = {name: index for index, name in enumerate(distinct)}
    return distinct, [place[name] for name in names]


def _pad(matrix: Tensor, dims: tuple[int, int]) -> Tensor:
    return F.pad(matrix, (0, dims[1] - matrix.shape[1], 0, dims[0] - matrix.shape[0]))

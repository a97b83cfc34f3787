"""Many tasks in one batch: every row through its own adapter, without a loop over adapters.

B  rows of the batch, N  tokens, d  width, r  bottleneck rank, K  adapters in the batch

A row without an adapter at a site has zero coefficients and bias there. Where all rows use one
projection, a single matrix product serves the whole batch; else the projections are gathered once
for all sites of a group, because they are shared between layers.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

BASE = "__base__"
"""The name of a row that gets no adapter."""


class Mixture(Protocol):
    """What a site does with the rows of a mixed batch."""

    def adapt(self, x: Tensor, *, in_place: bool) -> Tensor:
        """The adapted tensor, in the shape and dtype of x; x may be overwritten if in place."""
        ...


class Untouched:
    """A site that no row of the batch has an adapter for."""

    def adapt(self, x: Tensor, *, in_place: bool) -> Tensor:
        """x itself."""
        del in_place
        return x


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

    def adapt(self, x: Tensor, *, in_place: bool) -> Tensor:
        """Every row through its own adapter.

        Args:
            x: (B', ..., d), where B' is a multiple of B: windows of one image follow each other.
            in_place: whether x may be overwritten; it saves a pass over memory.

        Returns:
            The adapted tensor, in the shape and dtype of x.
        """
        rows = len(self.coefficients)
        tokens = x.reshape(rows, -1, x.shape[-1]).to(self.coefficients.dtype)
        bottleneck = (tokens @ self.down).mul_(self.coefficients)
        up = self.up if self.up.ndim == 3 else self.up.expand(rows, -1, -1)
        if in_place:
            tokens.baddbmm_(bottleneck, up)
        else:
            tokens = torch.baddbmm(tokens, bottleneck, up)
        if self.bias is not None:
            tokens += self.bias
        return tokens.reshape(x.shape).to(x.dtype)


class RowIndex:
    """Which of the K distinct adapters of a batch each of its B rows has.

    Args:
        rows: an index a row.
        device: where the adapters are.
    """

    def __init__(self, rows: Sequence[int], device: torch.device) -> None:
        self._rows = torch.tensor(rows, device=device)
        self._in_order = list(rows) == list(range(len(rows)))

    def gather(self, stacked: Tensor) -> Tensor:
        """From one slice an adapter, (K, ...), to one a row, (B, ...)."""
        return stacked if self._in_order else stacked[self._rows]


class ProjectionTable:
    """Gathers the projections of a batch's rows, once for all sites that share them."""

    def __init__(self, row_of: RowIndex) -> None:
        self._row_of = row_of
        self._gathered: dict[Hashable, Tensor] = {}

    def rows(
        self,
        key: Hashable,
        matrices: Callable[[], Sequence[Tensor | None]],
        dims: tuple[int, int],
    ) -> Tensor:
        """One matrix a row, (B, m, n), or the only one there is, (m, n).

        Args:
            key: what the matrices depend on; the same key gives the same rows.
            matrices: gives for each adapter of the batch its matrix or None; smaller ones are
                padded with zeros.
            dims: m and n.
        """
        if key not in self._gathered:
            self._gathered[key] = self._gather(matrices(), dims)
        return self._gathered[key]

    def _gather(self, matrices: Sequence[Tensor | None], dims: tuple[int, int]) -> Tensor:
        present = [matrix for matrix in matrices if matrix is not None]
        if len({matrix.data_ptr() for matrix in present}) == 1 and present[0].shape == dims:
            # Rows without an adapter have zero coefficients: any projection serves them.
            return present[0]
        zeros = present[0].new_zeros(dims)
        stacked = torch.stack([zeros if m is None else _pad(m, dims) for m in matrices])
        return self._row_of.gather(stacked)


def row_vectors(vectors: Sequence[Tensor | None], row_of: RowIndex, length: int) -> Tensor | None:
    """One vector a row, (B, 1, n), short ones padded with zeros; None where there are none.

    Args:
        vectors: for each adapter of the batch its vector, or None.
        row_of: each row's adapter.
        length: n.
    """
    example = next((v for v in vectors if v is not None), None)
    if example is None:
        return None
    zeros = example.new_zeros(length)
    stacked = torch.stack([zeros if v is None else _pad_vector(v, length) for v in vectors])
    return row_of.gather(stacked).unsqueeze(1)


def row_logits(
    features: Tensor,
    heads: Sequence[tuple[Tensor, Tensor | None]],
    row_of: RowIndex,
) -> Tensor:
    """Every row through its own head; logits of smaller heads are padded with -inf.

    Args:
        features: what reaches the head, (B, ..., d).
        heads: weight (k, d) and bias (k,) of each head of the batch.
        row_of: each row's head.

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
    logits = torch.baddbmm(row_of.gather(biases).unsqueeze(1), flat, row_of.gather(weights).mT)
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
    if matrix.shape == dims:
        return matrix
    return F.pad(matrix, (0, dims[1] - matrix.shape[1], 0, dims[0] - matrix.shape[0]))


def _pad_vector(vector: Tensor, length: int) -> Tensor:
    return vector if len(vector) == length else F.pad(vector, (0, length - len(vector)))

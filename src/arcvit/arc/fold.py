"""Folding an adapter into a linear layer that consumes its output, and taking it back.

d  width, o  outputs of the consumer, r  bottleneck rank
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arcvit.arc.functional import fold_bias, fold_weight


@dataclass
class _Original:
    """A consumer's weights before any fold."""

    weight: Tensor
    bias: Tensor | None


class Consumer:
    """A linear layer, by its place in the model rather than by reference.

    Folding works in three steps, so that several consumers change together or not at all: ``fold``
    prepares the new weights, ``commit`` puts them in place, ``restore`` brings the originals back.

    Args:
        parent: the module that holds the layer.
        attribute: the layer's name in it.
    """

    def __init__(self, parent: nn.Module, attribute: str) -> None:
        self.parent = parent
        self.attribute = attribute
        self._original: _Original | None = None
        self._prepared: tuple[Tensor, Tensor | None] | None = None

    @property
    def layer(self) -> nn.Linear:
        """The linear layer itself, also where a tuner has wrapped it."""
        layer: nn.Module = getattr(self.parent, self.attribute)
        while hasattr(layer, "base_layer"):
            layer = layer.base_layer  # type: ignore[assignment]
        return layer  # type: ignore[return-value]

    @property
    def weight(self) -> Tensor:
        """The layer's weight, (o, d)."""
        return self.layer.weight

    def fold(
        self,
        down: Tensor,
        coefficients: Tensor,
        up: Tensor,
        bias: Tensor | None,
        *,
        check: str | None,
    ) -> None:
        """Prepare the weights with an adapter folded in, computed in at least single precision.

        Args:
            down: down-projection, (d, r).
            coefficients: re-scaling coefficients, (r,).
            up: up-projection, (r, d).
            bias: the adapter's bias, (d,), or None.
            check: what to name in the error if the result isn't finite; None: don't check.

        Raises:
            ValueError: the result isn't finite.
        """
        layer = self.layer
        if self._original is None:
            self._original = _Original(
                weight=layer.weight.detach().clone(),
                bias=None if layer.bias is None else layer.bias.detach().clone(),
            )
        precision = torch.promote_types(self._original.weight.dtype, torch.float32)
        source = self._original.weight.to(precision)
        update = fold_weight(
            source, down.to(precision), coefficients.to(precision), up.to(precision)
        )
        new_weight = (layer.weight.to(precision) + update).to(layer.weight.dtype)
        new_bias = layer.bias
        if bias is not None:
            shift = fold_bias(source, bias.to(precision))
            if layer.bias is not None:
                shift = shift + layer.bias.to(precision)
            new_bias = shift.to(layer.weight.dtype)
        self._prepared = (new_weight, new_bias)
        if check is not None and not all(
            torch.isfinite(t).all() for t in self._prepared if t is not None
        ):
            self._prepared = None
            raise ValueError(f"NaN or infinity in the folded weights: {check} seems to be broken.")

    def commit(self) -> None:
        """Put the prepared weights in place."""
        if self._prepared is not None:
            self._assign(*self._prepared)
            self._prepared = None

    def restore(self) -> None:
        """Put the original weights back."""
        if self._original is not None:
            self._assign(self._original.weight, self._original.bias)
            self._original = None

    def _assign(self, weight: Tensor, bias: Tensor | None) -> None:
        layer = self.layer
        layer.weight.data = weight
        if bias is None:
            layer.bias = None
        elif layer.bias is None:
            layer.bias = nn.Parameter(bias, requires_grad=False)
        else:
            layer.bias.data = bias

"""The module that wraps a site: a norm whose output is adapted, or a linear layer whose input is.

d  width, r  bottleneck rank

The projection is one parameter for all sites of a group. The first site of the group, its owner,
registers it; the others hold a plain reference to the owner, so that it is one tensor in the model's
parameters, one entry in its state dict, and follows every cast, move and deletion of PEFT.
"""

import warnings
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from arcvit.arc.fold import Consumer
from arcvit.arc.functional import adapter_update
from arcvit.core.errors import UserError


class ArcLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A site with its adapters.

    Args:
        base_layer: the norm or linear layer that is wrapped.
        name: qualified name of the site, for messages.
        width: size d of the adapted tensor.
        on_input: adapt the input of ``base_layer`` rather than its output.
        consumers: the linear layers into which the adapter is folded.
    """

    adapter_layer_names = ("arc_projection", "arc_coefficients", "arc_bias")
    other_param_names = ("r", "dropout", "projection_owner")

    def __init__(
        self,
        base_layer: nn.Module,
        *,
        name: str,
        width: int,
        on_input: bool,
        consumers: tuple[Consumer, ...],
    ) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.name = name
        self.width = width
        self.on_input = on_input
        self.consumers = consumers
        self.r: dict[str, int] = {}
        self.dropout: dict[str, float] = {}
        self.arc_projection = nn.ParameterDict()
        self.arc_coefficients = nn.ParameterDict()
        self.arc_bias = nn.ParameterDict()
        self.projection_owner: dict[str, ArcLayer] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []

    def update_layer(
        self,
        adapter_name: str,
        *,
        r: int,
        dropout: float,
        bias: bool,
        zero_coefficients: bool,
        owner: "ArcLayer | None",
        inference_mode: bool = False,
    ) -> None:
        """Add an adapter, initialised as the paper does.

        D is Xavier-uniform over its (d, r) shape, b zero, c zero before MHA and Xavier-uniform over
        (1, r) before the FFN: there the adapter isn't the identity at first.

        Args:
            adapter_name: name of the adapter.
            r: width of its bottleneck.
            dropout: dropout in the bottleneck.
            bias: whether it has a bias b.
            zero_coefficients: start c at zero.
            owner: the site that holds the projection; None if this one does.
            inference_mode: leave the new parameters frozen.

        Raises:
            UserError: r is larger than the width of the site.
        """
        if r > self.width:
            raise UserError(
                f"r={r} is larger than the width {self.width} of {self.name!r}: expected"
                f" 1 <= r <= {self.width}."
            )
        self.r[adapter_name] = r
        self.dropout[adapter_name] = dropout
        self.projection_owner[adapter_name] = owner if owner is not None else self
        if owner is None:
            projection = torch.empty(self.width, r)
            self.arc_projection[adapter_name] = nn.Parameter(nn.init.xavier_uniform_(projection))
        coefficients = torch.zeros(1, r)
        if not zero_coefficients:
            nn.init.xavier_uniform_(coefficients)
        self.arc_coefficients[adapter_name] = nn.Parameter(coefficients.flatten())
        if bias:
            self.arc_bias[adapter_name] = nn.Parameter(torch.zeros(self.width))
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def projection(self, adapter_name: str) -> Tensor:
        """The down-projection D of an adapter, (d, r), wherever it is held."""
        owner = self.projection_owner[adapter_name]
        held: Tensor = owner.arc_projection[adapter_name]
        return held

    def bias_of(self, adapter_name: str) -> Tensor | None:
        """The bias b of an adapter, (d,), or None."""
        return self.arc_bias[adapter_name] if adapter_name in self.arc_bias else None

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The wrapped module's output, adapted; (..., d) to (..., d) on a norm."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        if self.disable_adapters or self.merged:
            return self.base_layer(x, *args, **kwargs)
        if self.on_input:
            return self.base_layer(self.adapt(x), *args, **kwargs)
        return self.adapt(self.base_layer(x, *args, **kwargs))

    def adapt(self, x: Tensor) -> Tensor:
        """x plus the updates of the active adapters, (..., d), in the dtype of x."""
        updates = [self.update(x, name) for name in self._present(self.active_adapters)]
        return x if not updates else (x + sum(updates)).to(x.dtype)

    def update(self, x: Tensor, adapter_name: str) -> Tensor:
        """What one adapter adds to x, (..., d), in the adapter's dtype."""
        projection = self.projection(adapter_name)
        return adapter_update(
            self._cast_input_dtype(x, projection.dtype),
            projection,
            self.arc_coefficients[adapter_name],
            projection.mT,
            self.bias_of(adapter_name),
            dropout=self.dropout[adapter_name],
            training=self.training,
        )

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Fold adapters into the consumers: ``W' = W (I + (D * c) D^T)``, ``bias' = bias + W b``.

        Each update is taken of the original weights, so that folding several adapters equals
        running them together. The originals are kept, and ``unmerge`` gives them back exactly.

        Args:
            safe_merge: refuse a result that isn't finite.
            adapter_names: adapters to fold; None: the active ones.

        Raises:
            ValueError: ``safe_merge`` and a folded weight isn't finite; nothing is changed then.
        """
        for name in self._present(check_adapters_to_merge(self, adapter_names)):
            projection = self.projection(name)
            for consumer in self.consumers:
                consumer.fold(
                    projection,
                    self.arc_coefficients[name],
                    projection.mT,
                    self.bias_of(name),
                    check=f"adapter {name!r} at {self.name!r}" if safe_merge else None,
                )
            for consumer in self.consumers:
                consumer.commit()
            self.merged_adapters.append(name)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Give the consumers their original weights back, exactly."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        for consumer in self.consumers:
            consumer.restore()
        self.merged_adapters.clear()

    def _present(self, adapter_names: list[str]) -> list[str]:
        return [name for name in adapter_names if name in self.arc_coefficients]

    def _get_base_layer_device_and_dtype(
        self, base_layer: nn.Module
    ) -> tuple[torch.device | None, torch.dtype | None]:
        """Where new parameters go: a norm may be kept in another precision than its consumers."""
        del base_layer
        weight = self.consumers[0].weight
        return weight.device, weight.dtype

    def __repr__(self) -> str:
        return "arc." + super().__repr__()

"""The module that wraps a site: a norm whose output is adapted, or a layer whose input is.

d  width, r  bottleneck rank

The projection is one parameter for all sites of a group. The first site of the group registers it;
the others hold a plain reference to that site, so that it is one tensor in the model's parameters,
one entry in its state dict, and follows every cast, move and deletion of PEFT.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from arcvit.arc.fold import Consumer
from arcvit.arc.functional import adapter_update
from arcvit.arc.fused import is_plain_norm, norm_adapter
from arcvit.arc.mixture import Mixture
from arcvit.arc.trainable import keep_frozen
from arcvit.core.errors import UserError

Placement = Literal["output", "input", "residual"]


@dataclass(frozen=True, kw_only=True)
class AdapterShape:
    """One adapter at one site.

    Attributes:
        r: width of the bottleneck.
        dropout: dropout in the bottleneck.
        bias: whether it has a bias b.
        zero_coefficients: c starts at zero; otherwise Xavier-uniform over (1, r).
        separate_up: whether the up-projection is a matrix of its own.
    """

    r: int
    dropout: float
    bias: bool
    zero_coefficients: bool
    separate_up: bool = False


class ArcLayer(nn.Module, BaseTunerLayer):
    """A site with its adapters.

    Args:
        base_layer: the module that is wrapped.
        name: qualified name of the site, for messages.
        width: size d of the adapted tensor.
        placement: adapt the module's ``output`` or its ``input``; ``residual``: adapt the input,
            and add the update to the residual stream too (``residual_module``'s output).
        consumers: the linear layers into which the adapter is folded.
        unfoldable: why it can't be folded; None: it can.
        residual_module: with ``residual``, the module whose output joins the residual stream.
    """

    adapter_layer_names = ("arc_projection", "arc_up", "arc_coefficients", "arc_bias")
    other_param_names = ("r", "dropout", "projection_holder")
    cast_input_dtype_enabled = True

    def __init__(
        self,
        base_layer: nn.Module,
        *,
        name: str,
        width: int,
        placement: Placement,
        consumers: tuple[Consumer, ...],
        unfoldable: str | None = None,
        residual_module: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.name = name
        self.width = width
        self.placement = placement
        self.consumers = consumers
        self.unfoldable = unfoldable
        self.r: dict[str, int] = {}
        self.dropout: dict[str, float] = {}
        self.arc_projection = nn.ParameterDict()
        self.arc_up = nn.ParameterDict()
        self.arc_coefficients = nn.ParameterDict()
        self.arc_bias = nn.ParameterDict()
        self.projection_holder: dict[str, tuple[ArcLayer, str]] = {}
        self.mixture: Mixture | None = None
        self._disable_adapters = False
        self._active_adapter: str | list[str] = []
        self.merged_adapters: list[str] = []
        self._pending: Tensor | None = None
        self._residual_hook = (
            None
            if residual_module is None
            else residual_module.register_forward_hook(self._add_to_residual)
        )

    def update_layer(
        self,
        adapter_name: str,
        shape: AdapterShape,
        *,
        holder: "tuple[ArcLayer, str] | None",
        inference_mode: bool = False,
    ) -> None:
        """Add an adapter, initialised as the paper does.

        D is Xavier-uniform over its (d, r) shape, b zero. c is zero before MHA and Xavier-uniform
        over (1, r) before the FFN: there the adapter isn't the identity at first.

        Args:
            adapter_name: name of the adapter.
            shape: what it is.
            holder: the site that holds its projection, and the adapter it is held for; None: this
                site, for this adapter.
            inference_mode: leave the new parameters frozen.

        Raises:
            UserError: r is larger than the width of the site.
        """
        r = shape.r
        if r > self.width:
            raise UserError(
                f"r={r} is larger than the width {self.width} of {self.name!r}: expected"
                f" 1 <= r <= {self.width}."
            )
        self.r[adapter_name] = r
        self.dropout[adapter_name] = shape.dropout
        self.projection_holder[adapter_name] = holder or (self, adapter_name)
        if holder is None:
            down = nn.init.xavier_uniform_(torch.empty(self.width, r))
            self.arc_projection[adapter_name] = nn.Parameter(down)
            if shape.separate_up:
                up = nn.init.xavier_uniform_(torch.empty(r, self.width))
                self.arc_up[adapter_name] = nn.Parameter(up)
        coefficients = torch.zeros(1, r)
        if not shape.zero_coefficients:
            nn.init.xavier_uniform_(coefficients)
        self.arc_coefficients[adapter_name] = nn.Parameter(coefficients.flatten())
        if shape.bias:
            self.arc_bias[adapter_name] = nn.Parameter(torch.zeros(self.width))
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def down(self, adapter_name: str) -> Tensor:
        """The down-projection D of an adapter, (d, r), wherever it is held.

        It is the very parameter, unless it is borrowed from an adapter in another precision.
        """
        layer, held_for = self.projection_holder[adapter_name]
        return layer.arc_projection[held_for].to(self.arc_coefficients[adapter_name].dtype)

    def has_own_up(self, adapter_name: str) -> bool:
        """Whether an adapter's up-projection is its own, not the transpose of D."""
        layer, held_for = self.projection_holder[adapter_name]
        return held_for in layer.arc_up

    def up(self, adapter_name: str) -> Tensor:
        """The up-projection of an adapter, (r, d): ``D^T``, or its own."""
        layer, held_for = self.projection_holder[adapter_name]
        if held_for in layer.arc_up:
            return layer.arc_up[held_for].to(self.arc_coefficients[adapter_name].dtype)
        return self.down(adapter_name).mT

    def bias_of(self, adapter_name: str) -> Tensor | None:
        """The bias b of an adapter, (d,), or None."""
        bias: Tensor | None = self.arc_bias.get(adapter_name)
        return bias

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What the wrapped module gives, adapted before or after it."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        self._pending = None
        if self.disable_adapters or self.merged:
            return self.base_layer(x, *args, **kwargs)
        if self.placement == "output":
            norm = self.base_layer
            if not args and not kwargs and is_plain_norm(norm) and self._fuses(x):
                return self._adapted_norm(x, norm)
            normed = self.base_layer(x, *args, **kwargs)
            # A norm's output is a new tensor, unless the norm is an identity.
            return self.adapt(normed, owned=normed is not x)
        adapted = self.adapt(x)
        if self.placement == "residual":
            self._pending = adapted - x
        return self.base_layer(adapted, *args, **kwargs)

    def adapt(self, x: Tensor, *, owned: bool = False) -> Tensor:
        """x with the updates of the active adapters, (..., d), in the dtype of x.

        Args:
            x: what is adapted, (..., d).
            owned: whether nobody else holds x, so that it may be overwritten.
        """
        if self.mixture is not None:
            return self.mixture.adapt(x, in_place=owned and not torch.is_grad_enabled())
        adapted = x
        for name in self._present(self.active_adapters):
            # Each update is of x itself, so that adapters add up in any order.
            adapted = adapted + self.update(x, name)
        return adapted.to(x.dtype)

    def update(self, x: Tensor, adapter_name: str) -> Tensor:
        """What one adapter adds to x, (..., d), in the adapter's dtype."""
        coefficients = self.arc_coefficients[adapter_name]
        return adapter_update(
            self._cast_input_dtype(x, coefficients.dtype),
            self.down(adapter_name),
            coefficients,
            self.up(adapter_name),
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
            ValueError: the site can't be folded, or ``safe_merge`` and a folded weight isn't
                finite; the site is as it was then.
        """
        self.check_foldable()
        for name in self._present(check_adapters_to_merge(self, adapter_names)):
            finite = [
                consumer.prepare(
                    self.down(name), self.arc_coefficients[name], self.up(name), self.bias_of(name)
                )
                for consumer in self.consumers
            ]
            if safe_merge and not all(finite):
                for consumer in self.consumers:
                    consumer.discard()
                raise ValueError(
                    f"folding adapter {name!r} at {self.name!r} gives NaN or infinity: the adapter"
                    " seems to be broken."
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

    def check_foldable(self) -> None:
        """Raise a ValueError that says why where the site can't be folded."""
        if self.unfoldable is not None:
            raise ValueError(f"the adapter at {self.name!r} can't be folded: {self.unfoldable}.")
        for consumer in self.consumers:
            if consumer.quantization is not None:
                raise ValueError(
                    f"the adapter at {self.name!r} can't be folded: {consumer.attribute!r} is"
                    f" quantized ({consumer.quantization}), and folding would round it anew; call"
                    " dequantize_consumers() first to fold into floating-point weights."
                )

    def forget(self, adapter_name: str) -> None:
        """Drop what is kept of an adapter here, and leave the active adapters as they are."""
        for attribute in self.adapter_layer_names + self.other_param_names:
            held = getattr(self, attribute)
            if adapter_name in held:
                del held[adapter_name]

    def release(self) -> None:
        """Let go of the rest of the model, when the site is unloaded."""
        if self._residual_hook is not None:
            self._residual_hook.remove()
            self._residual_hook = None

    def _present(self, adapter_names: list[str]) -> list[str]:
        return [name for name in adapter_names if name in self.arc_coefficients]

    def _fuses(self, x: Tensor) -> bool:
        """Whether norm and adapter can be one operation here and now, but for the norm itself."""
        present = self._present(self.active_adapters)
        return (
            len(present) == 1
            and self.mixture is None
            and (self.cast_input_dtype_enabled or x.dtype == self.down(present[0]).dtype)
        )

    def _adapted_norm(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        """``adapt`` of the norm's output in one operation."""
        (name,) = self._present(self.active_adapters)
        return norm_adapter(
            x,
            norm,
            self.down(name),
            self.arc_coefficients[name],
            self.up(name) if self.has_own_up(name) else None,
            self.bias_of(name),
            dropout=self.dropout[name] if self.training else 0.0,
        )

    def _add_to_residual(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        del module, args
        pending, self._pending = self._pending, None
        return output if pending is None else output + pending.reshape(output.shape)

    def _move_adapter_to_device_of_base_layer(
        self, adapter_name: str, device: torch.device | None = None
    ) -> None:
        with keep_frozen([self], adapter_name):
            super()._move_adapter_to_device_of_base_layer(adapter_name, device)

    def _get_base_layer_device_and_dtype(
        self, base_layer: nn.Module
    ) -> tuple[torch.device | None, torch.dtype | None]:
        """Where new parameters go: a norm may be kept in another precision than its consumers."""
        if self.consumers:
            weight = self.consumers[0].weight
            return weight.device, weight.dtype
        device, dtype = super()._get_base_layer_device_and_dtype(base_layer)
        return device, dtype

    def __getattr__(self, name: str) -> Any:
        """What the wrapper doesn't have is asked of the wrapped module: code may look into it."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base_layer":
                raise
            return getattr(self.base_layer, name)

    def __repr__(self) -> str:
        return "arc." + super().__repr__()


class ArcLinear(ArcLayer):
    """A site on the input of a plain linear layer.

    PEFT recognises an adapted linear layer by "Linear" in the name of its class: a further adapter
    with ``target_modules="all-linear"`` finds it so.
    """

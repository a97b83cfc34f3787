"""The module that wraps a site: a norm or layer whose output is adapted, or one whose input is.

d  width, r  bottleneck rank

The projection is one parameter for all sites of a group. The first site of the group registers it;
the others hold a plain reference to that site, so that it is one tensor in the model's parameters,
one entry in its state dict, and follows every cast, move and deletion of PEFT.
"""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from arcvit.arc.bottleneck import Projections
from arcvit.arc.call import current_call, defer, deferred
from arcvit.arc.fold import Consumer
from arcvit.arc.functional import Factors, adapt_rows, adapter_update
from arcvit.arc.fused import is_plain_norm, norm_adapter
from arcvit.arc.fused_linear import linear_adapter
from arcvit.arc.variants import OWN, SHARED, AdapterShape, compose

Placement = Literal["output", "input", "residual"]


class ArcLayer(nn.Module, BaseTunerLayer):
    """A site with its adapters.

    Args:
        base_layer: the module that is wrapped.
        name: qualified name of the site, for messages.
        width: size d of the adapted tensor.
        placement: adapt the module's ``output`` or its ``input``; ``residual``: adapt the input,
            and add the update to the residual stream too (``residual_module``'s output).
        consumers: the linear layers into which the adapter is folded.
        unfoldable: why it can't be folded; None: nothing is known against it.
        proved: whether it is known that its consumers, and nothing else, take what is adapted.
        residual_module: with ``residual``, the module whose output joins the residual stream.
        active_adapters: names of the adapters that are active from the start.
    """

    adapter_layer_names = (*SHARED, *OWN)
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
        proved: bool = True,
        residual_module: nn.Module | None = None,
        active_adapters: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.name = name
        self.width = width
        self.placement = placement
        self.consumers = consumers
        self.after = any(consumer.after for consumer in consumers)
        self.unfoldable = unfoldable
        self.proved = proved
        self.r: dict[str, int] = {}
        self.dropout: dict[str, float] = {}
        self.arc_projection = nn.ParameterDict()
        self.arc_up = nn.ParameterDict()
        self.arc_coefficients = nn.ParameterDict()
        self.arc_bias = nn.ParameterDict()
        self.projection_holder: dict[str, tuple[ArcLayer, str]] = {}
        self.frozen_peft_weight_names: dict[str, tuple[str, ...]] = {}
        self._disable_adapters = False
        self._active_adapter: str | list[str] = active_adapters or []
        self.merged_adapters: list[str] = []
        self._route: tuple[str, ...] = ()
        self.prepared: Projections | None = None
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
        """Add an adapter, as it starts.

        Args:
            adapter_name: name of the adapter.
            shape: what it is.
            holder: the site that holds what its group shares, and the adapter it is held for;
                None: this site, for this adapter.
            inference_mode: leave the new parameters frozen.
        """
        self.r[adapter_name] = shape.r
        self.dropout[adapter_name] = shape.dropout
        self.projection_holder[adapter_name] = holder or (self, adapter_name)
        shared = shape.shared(self.width) if holder is None else {}
        for name, start in {**shared, **shape.own(self.width)}.items():
            getattr(self, name)[adapter_name] = nn.Parameter(start)
        if not shape.train_projection:
            self.frozen_peft_weight_names[adapter_name] = SHARED
        self._move_adapter_to_device_of_base_layer(adapter_name)
        # Of the new one alone: to go through all that are loaded would make the hundredth slow.
        trains = adapter_name in self.active_adapters and not inference_mode
        for kind in self.adapter_layer_names:
            if adapter_name in getattr(self, kind):
                getattr(self, kind)[adapter_name].requires_grad_(trains)
        self._freeze_non_trainable_peft_weights([adapter_name])
        self._choose_route()

    def has(self, adapter_name: str) -> bool:
        """Whether an adapter is at this site."""
        return adapter_name in self.arc_coefficients

    def factors(self, adapter_name: str) -> Factors:
        """An adapter at this site."""
        layer, held_for = self.projection_holder[adapter_name]
        held = [(getattr(layer, name), name, held_for) for name in SHARED]
        held += [(getattr(self, name), name, adapter_name) for name in OWN]
        return compose({name: values[key] for values, name, key in held if key in values})

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What the wrapped module gives, adapted before or after it."""
        if self._disable_adapters and self.merged_adapters:
            self.unmerge()
        if self.placement == "output":
            fuses = self._fuses(x)
            if fuses and is_plain_norm(self.base_layer) and not args and not kwargs:
                return norm_adapter(
                    x,
                    self.base_layer,
                    self.prepared or self.factors(self._route[0]),
                    dropout=self._dropout(),
                )
            output = self.base_layer(x, *args, **kwargs)
            if fuses and self.after:
                return linear_adapter(
                    output, self.prepared or self.factors(self._route[0]), dropout=self._dropout()
                )
            # An output is a new tensor, unless the module is an identity.
            return self.adapt(output, owned=output is not x)
        adapted = self.adapt(x)
        if self.placement == "residual":
            defer(self, None if adapted is x else adapted - x)
        return self.base_layer(adapted, *args, **kwargs)

    def adapt(self, x: Tensor, *, owned: bool = False) -> Tensor:
        """x with the updates of its rows' adapters or of the active ones, (..., d), in its dtype.

        Args:
            x: what is adapted, (..., d).
            owned: whether nobody else holds x, so that it may be overwritten.
        """
        call = current_call()
        if call is not None:
            rows = call.rows_at(self)
            in_place = owned and not torch.is_grad_enabled()
            return x if rows is None else adapt_rows(x, rows, in_place=in_place)
        adapted = x
        for name in self._route:
            # Each update is of x itself, so that adapters add up in any order.
            factors = self.factors(name)
            adapted = adapted + adapter_update(
                self._cast_input_dtype(x, factors.core.dtype),
                factors,
                dropout=self.dropout[name],
                training=self.training,
            )
        return adapted.to(x.dtype)

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Fold adapters into the consumers: ``W' = W (I + D C U)^T``, ``bias' = bias + W b``.

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
        for name in filter(self.has, check_adapters_to_merge(self, adapter_names)):
            factors = self.factors(name)
            finite = [consumer.prepare(factors) for consumer in self.consumers]
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
        self._choose_route()

    @torch.no_grad()
    def unmerge(self) -> None:
        """Give the consumers their original weights back, exactly."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        for consumer in self.consumers:
            consumer.restore()
        self.merged_adapters.clear()
        self._choose_route()

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

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:
        """As PEFT does."""
        super().set_adapter(adapter_names, inference_mode)
        self._choose_route()

    def enable_adapters(self, enabled: bool) -> None:
        """As PEFT does."""
        super().enable_adapters(enabled)
        self._choose_route()

    def delete_adapter(self, adapter_name: str) -> None:
        """As PEFT does."""
        super().delete_adapter(adapter_name)
        self._choose_route()

    def release(self) -> None:
        """Let go of the rest of the model, when the site is unloaded."""
        if self._residual_hook is not None:
            self._residual_hook.remove()
            self._residual_hook = None

    def _choose_route(self) -> None:
        """Settle which adapters a call goes through: once, when their state changes."""
        bypass = self._disable_adapters or self.merged_adapters
        self._route = () if bypass else tuple(filter(self.has, self.active_adapters))

    def fused_adapter(self) -> tuple[Factors, float] | None:
        """The one active adapter and its dropout, if it takes prepared projections."""
        if self.placement != "output" or len(self._route) != 1:
            return None
        fuses = self.after or is_plain_norm(self.base_layer)
        return (self.factors(self._route[0]), self._dropout()) if fuses else None

    def _fuses(self, x: Tensor) -> bool:
        """Whether the products of ``Projections`` can serve here and now."""
        if len(self._route) != 1 or current_call():
            return False
        if torch.jit.is_tracing():  # type: ignore[attr-defined]  # a trace holds plain operations
            return False
        coefficients = self.arc_coefficients[self._route[0]]
        return self.cast_input_dtype_enabled or x.dtype == coefficients.dtype

    def _dropout(self) -> float:
        """Dropout of the one active adapter, here and now."""
        return self.dropout[self._route[0]] if self.training else 0.0

    def _add_to_residual(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        del module, args
        update = deferred(self)
        return output if update is None else output + update.reshape(output.shape)

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
    """A site on the input or output of a plain linear layer.

    PEFT recognises an adapted linear layer by "Linear" in the name of its class: a further adapter
    with ``target_modules="all-linear"`` finds it so.
    """

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """Whether PEFT can convert an adapter to LoRA: where the bias, which it drops, stays."""
        moves_bias = self.after and self.get_base_layer().bias is not None
        return adapter_name not in self.arc_bias and not moves_bias

    @torch.no_grad()
    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """What an adapter adds to the layer's weight, (o, d)."""
        a, b, _ = self.consumers[0].as_lora(self.factors(adapter_name))
        return b @ a


@contextmanager
def keep_frozen(layers: Iterable[ArcLayer], adapter_name: str) -> Iterator[None]:
    """Within the context, what is frozen stays frozen though its parameter is made anew.

    PEFT casts a parameter by replacing it, and the new one requires gradients (peft 0.21): an
    inactive adapter, or one for inference, would train.

    Args:
        layers: the sites of the adapter.
        adapter_name: the adapter that is cast or moved.
    """
    flags = [
        (parameters, parameters[adapter_name].requires_grad)
        for layer in layers
        for attribute in layer.adapter_layer_names
        if adapter_name in (parameters := getattr(layer, attribute))
    ]
    try:
        yield
    finally:
        for parameters, requires_grad in flags:
            parameters[adapter_name].requires_grad_(requires_grad)


@contextmanager
def bypassed(layers: Iterable[ArcLayer]) -> Iterator[None]:
    """Within the context, calls pass these sites by; nothing else of theirs changes."""
    routes = [(layer, layer._route) for layer in layers]
    try:
        for layer, _ in routes:
            layer._route = ()
        yield
    finally:
        for layer, route in routes:
            layer._route = route

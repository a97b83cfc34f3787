"""Folding an adapter into a linear layer before or after it, and taking it back.

d  inputs, o  outputs of the layer, r  bottleneck rank
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from arcvit.arc.functional import Factors, LoraFactors, lora_factors, lora_factors_after

_SPLIT_BIASES = ("q_bias", "k_bias", "v_bias")


@dataclass
class _Weights:
    """A consumer's weight, (o, d), and bias, (o,), where it has one."""

    weight: Tensor
    bias: Tensor | None


class Consumer:
    """A linear layer that an adapter is folded into, by its place in the model rather than by
    reference: it consumes what the adapter changes, or the adapter changes its own output.

    Some attention modules (BEiT, EVA-02, Swin-V2 in timm) keep the bias of their fused ``qkv``
    layer in three parts of their own; the adapter's bias is folded into those.

    Folding works in steps, so that several consumers change together or not at all: ``prepare``
    computes the new weights, ``commit`` puts them in place, ``restore`` brings the originals back.

    Args:
        parent: the module that holds the layer.
        attribute: the layer's name in it.
        after: whether the adapter comes after the layer.
    """

    def __init__(self, parent: nn.Module, attribute: str, *, after: bool = False) -> None:
        self.parent = parent
        self.attribute = attribute
        self.after = after
        self._original: _Weights | None = None
        self._prepared: _Weights | None = None

    @property
    def layer(self) -> nn.Linear:
        """The linear layer itself, also where a tuner has wrapped it."""
        layer: nn.Module = getattr(self.parent, self.attribute)
        while isinstance(inner := getattr(layer, "base_layer", None), nn.Module):
            layer = inner
        return cast(nn.Linear, layer)

    @property
    def weight(self) -> Tensor:
        """The layer's weight, (o, d)."""
        return self.layer.weight

    @property
    def quantization(self) -> str | None:
        """What the weight is quantized with, or None for a plain floating-point weight."""
        data = self.weight.data
        if type(data) is torch.Tensor and data.is_floating_point():
            return None
        return f"{type(data).__name__}, {data.dtype}"

    def dequantize(self) -> None:
        """Replace a quantized weight by its floating-point values, for good.

        Raises:
            ValueError: the weight's type has no ``dequantize``.
        """
        if self.quantization is None:
            return
        dequantize = getattr(self.weight.data, "dequantize", None)
        if dequantize is None:
            raise ValueError(
                f"{self.attribute!r} is quantized ({self.quantization}) and can't be dequantized"
                " here: load the backbone in floating point to fold into it."
            )
        self.layer.weight = nn.Parameter(dequantize(), requires_grad=False)

    def prepare(self, factors: Factors) -> bool:
        """Compute the weights with an adapter folded in, in at least single precision.

        The update is that of the original weights, also where another adapter is folded already.

        Args:
            factors: the adapter.

        Returns:
            Whether the result is finite.
        """
        now = self._read()
        original = self._original or now
        precision = torch.promote_types(now.weight.dtype, torch.float32)
        a, b, shift = self._as_lora(original, factors, precision)
        weight = torch.addmm(now.weight.to(precision), b, a)
        folded = _Weights(weight.to(now.weight.dtype), now.bias)
        if shift is not None:
            if now.bias is not None:
                shift = shift + now.bias.to(precision)
            folded.bias = shift.to(now.weight.dtype)
        self._prepared = folded
        return all(
            bool(torch.isfinite(t).all()) for t in (folded.weight, folded.bias) if t is not None
        )

    def as_lora(self, factors: Factors) -> LoraFactors:
        """An adapter as exact rank-r factors of LoRA at the layer, in its weight's precision."""
        return self._as_lora(self._read(), factors, self.weight.dtype)

    def _as_lora(self, weights: _Weights, factors: Factors, precision: torch.dtype) -> LoraFactors:
        weight, factors = weights.weight.to(precision), factors.to(precision)
        if not self.after:
            return lora_factors(weight, factors)
        bias = None if weights.bias is None else weights.bias.to(precision)
        return lora_factors_after(weight, bias, factors)

    def commit(self) -> None:
        """Put the prepared weights in place, and keep the originals."""
        if self._prepared is None:
            return
        if self._original is None:
            now = self._read()
            self._original = _Weights(now.weight.clone(), _clone(now.bias))
        self._write(self._prepared)
        self._prepared = None

    def discard(self) -> None:
        """Forget prepared weights."""
        self._prepared = None

    def restore(self) -> None:
        """Put the original weights back, in the precision and place the model has now."""
        if self._original is not None:
            now = self.weight
            bias = self._original.bias
            self._write(
                _Weights(self._original.weight.to(now), None if bias is None else bias.to(now))
            )
            self._original = None

    @property
    def is_bypassed(self) -> bool:
        """Whether its module keeps its bias in three parts, and takes the weight past it."""
        separate = getattr(self.parent, "qkv_bias_separate", False)
        return self._split_biases() is not None and not separate

    def _split_biases(self) -> list[Tensor] | None:
        parts = [getattr(self.parent, name, None) for name in _SPLIT_BIASES]
        if self.attribute != "qkv" or any(not isinstance(part, Tensor) for part in parts):
            return None
        return [part for part in parts if isinstance(part, Tensor)]

    def _read(self) -> _Weights:
        layer = self.layer
        parts = self._split_biases()
        bias = layer.bias if parts is None else torch.cat([part.detach() for part in parts])
        return _Weights(self.weight.detach(), None if bias is None else bias.detach())

    def _write(self, weights: _Weights) -> None:
        """In place: a captured training step goes on reading where the weights lay."""
        layer = self.layer
        self.weight.detach().copy_(weights.weight)
        parts = self._split_biases()
        if parts is not None:
            assert weights.bias is not None
            for part, values in zip(parts, weights.bias.chunk(3), strict=True):
                part.detach().copy_(values)
        elif weights.bias is None:
            layer.register_parameter("bias", None)
        elif getattr(layer, "bias", None) is None:
            layer.bias = nn.Parameter(weights.bias, requires_grad=False)
        else:
            layer.bias.detach().copy_(weights.bias)


def fold_all(
    layers: Sequence["Foldable"], adapter_names: list[str] | None, safe_merge: bool
) -> None:
    """Fold adapters at all sites of a model, or at none.

    Args:
        layers: all sites of the model.
        adapter_names: adapters to fold; None: the active ones.
        safe_merge: refuse a result that isn't finite.

    Raises:
        ValueError: a site can't be folded, or ``safe_merge`` and a folded weight isn't finite; what
            was folded before is folded still, and no more.
    """
    for layer in layers:
        layer.check_foldable()
    before = [list(layer.merged_adapters) for layer in layers]
    try:
        for layer in layers:
            layer.merge(safe_merge=safe_merge, adapter_names=adapter_names)
    except ValueError:
        for layer, earlier in zip(layers, before, strict=True):
            if layer.merged_adapters != earlier:
                layer.unmerge()
                layer.merge(adapter_names=earlier)
        raise


@torch.no_grad()
def lora_at_consumers(model: nn.Module, adapter_name: str) -> dict[str, LoraFactors]:
    """An adapter as LoRA on the linear layers that it is folded into, exactly, of its rank r.

    Args:
        model: the model with the adapter.
        adapter_name: the adapter.

    Returns:
        For each layer, by its name in the plain model: A, (r, d), and B, (o, r), with
        ``W' = W + B A``; and the bias of B, (o,), for ``LoraConfig(lora_bias=True)``, or None.

    Raises:
        ValueError: a site can't be folded, or a consumer isn't called as a linear layer.
    """
    names = {id(module): name for name, module in model.named_modules()}
    found: dict[str, LoraFactors] = {}
    for layer in model.modules():
        if not isinstance(layer, Foldable) or not layer.has(adapter_name):
            continue
        layer.check_foldable()
        for consumer in layer.consumers:
            name = f"{names[id(consumer.parent)]}.{consumer.attribute}".removeprefix(".")
            if consumer.is_bypassed:
                raise ValueError(
                    f"{name!r} can't carry LoRA: its module takes its weight and three biases of"
                    " its own, and doesn't call it."
                )
            as_lora = consumer.as_lora(layer.factors(adapter_name))
            found[name.replace(".base_layer", "")] = as_lora
    return found


@runtime_checkable
class Foldable(Protocol):
    """A site, as far as folding needs it."""

    merged_adapters: list[str]
    consumers: tuple[Consumer, ...]

    def has(self, adapter_name: str) -> bool:
        """Whether an adapter is here."""
        ...

    def factors(self, adapter_name: str) -> Factors:
        """An adapter here."""
        ...

    def check_foldable(self) -> None:
        """Raise a ValueError where it can't be folded."""
        ...

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Fold adapters in."""
        ...

    def unmerge(self) -> None:
        """Take them out."""
        ...


def _clone(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()

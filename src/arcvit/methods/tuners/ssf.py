"""SSF: scale and shift the output of every operation of a frozen backbone.

"Scaling & Shifting Your Features: A New Baseline for Efficient Model Tuning" (NeurIPS 2022, arXiv
2210.08823), section 3.2: ``y = gamma * x + beta`` after the patch embedding, every linear layer and
every LayerNorm. Both vectors are linear in x, so a layer absorbs them.
"""

from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn

from arcvit.arc.config import PeftTypeName
from arcvit.arc.register import register_tuner
from arcvit.core.errors import UserError
from arcvit.methods.tuners.tuner import MethodConfig, MethodLayer, MethodModel

SSF_TYPE = PeftTypeName("SSF")
_KINDS = (nn.Linear, nn.LayerNorm, nn.Conv2d)
_START = 0.02
"""Standard deviation of gamma around 1 and of beta around 0 at the start (the authors' code)."""


@dataclass
class SsfConfig(MethodConfig):
    """Configuration of SSF; it has nothing to choose."""

    method_type = SSF_TYPE


class SsfLayer(MethodLayer):
    """A linear layer, convolution or LayerNorm whose output is scaled and shifted."""

    adapter_layer_names = ("ssf_scale", "ssf_shift")

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__(base_layer)
        self.ssf_scale = nn.ParameterDict()
        self.ssf_shift = nn.ParameterDict()
        self._original: tuple[Tensor, Tensor | None] | None = None

    def add(self, adapter_name: str, config: Any) -> None:
        """Gamma around one, beta around zero, one of each a channel."""
        del config
        width = self._width()
        self.ssf_scale[adapter_name] = nn.Parameter(nn.init.normal_(torch.empty(width), 1, _START))
        self.ssf_shift[adapter_name] = nn.Parameter(nn.init.normal_(torch.empty(width), 0, _START))

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The wrapped module's output, ``gamma * y + beta``; channels are last, or second in a
        convolution's.
        """
        if self.disable_adapters and self.merged:
            self.unmerge()
        y: Tensor = self.base_layer(x, *args, **kwargs)
        if self.merged:
            return y
        shape = (-1, 1, 1) if isinstance(self.base_layer, nn.Conv2d) else (-1,)
        for name in self._on(self.ssf_scale):
            scale, shift = self.ssf_scale[name], self.ssf_shift[name]
            y = (y * scale.view(shape) + shift.view(shape)).to(y.dtype)
        return y

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Fold into the layer: ``W' = gamma W``, ``bias' = gamma bias + beta``.

        Raises:
            UserError: ``safe_merge`` and the result isn't finite.
        """
        layer = self._layer()
        for name in check_adapters_to_merge(self, adapter_names):
            if name not in self.ssf_scale:
                continue
            scale, shift = self.ssf_scale[name], self.ssf_shift[name]
            weight = layer.weight * scale.view(-1, *[1] * (layer.weight.dim() - 1))
            bias = shift if layer.bias is None else layer.bias * scale + shift
            if safe_merge and not bool(torch.isfinite(weight).all() & torch.isfinite(bias).all()):
                raise UserError(
                    f"folding adapter {name!r} gives NaN or infinity: the adapter seems to be"
                    " broken."
                )
            if self._original is None:
                had = None if layer.bias is None else layer.bias.detach().clone()
                self._original = (layer.weight.detach().clone(), had)
            self._write(weight.to(layer.weight.dtype), bias.to(layer.weight.dtype))
            self.merged_adapters.append(name)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Give the layer its weights back, exactly."""
        if self._original is not None:
            self._write(*self._original)
            self._original = None
        self.merged_adapters.clear()

    def _layer(self) -> Any:
        return self.base_layer

    def _write(self, weight: Tensor, bias: Tensor | None) -> None:
        layer = self._layer()
        # In place: a captured training step goes on reading where the weights lay.
        layer.weight.detach().copy_(weight)
        if bias is None:
            layer.bias = None
        elif layer.bias is None:
            layer.bias = nn.Parameter(bias, requires_grad=False)
        else:
            layer.bias.detach().copy_(bias)

    def _width(self) -> int:
        weight: Tensor = self._layer().weight
        return weight.shape[0]


class SsfModel(MethodModel):
    """SSF for any model of linear layers, convolutions and LayerNorms."""

    prefix = "ssf_"
    tuner_layer_cls = SsfLayer
    layer_kind = SsfLayer

    def wrapped(self, config: SsfConfig, model: nn.Module) -> list[str]:
        """Every layer with a weight, but for what is trained whole."""
        whole = tuple(config.modules_to_save or ())
        names = [
            name
            for name, module in model.named_modules()
            if isinstance(module, _KINDS)
            and getattr(module, "weight", None) is not None
            and not any(f".{part}." in f".{name}." for part in whole)
        ]
        if not names:
            raise UserError(
                f"ssf can't be put on {type(model).__name__}: expected linear layers,"
                " convolutions or LayerNorms."
            )
        return names


register_tuner(SSF_TYPE, SsfConfig, SsfModel)

"""A method from outside arcvit, whole: one learned gain for each channel that an MLP gives."""

from dataclasses import dataclass

import torch
from peft import get_peft_model
from torch import Tensor, nn

from arcvit.arc.config import PeftTypeName
from arcvit.arc.register import register_tuner
from arcvit.methods.spec import MethodSpec, Part
from arcvit.methods.tuners.tuner import MethodConfig, MethodLayer, MethodModel


@dataclass(frozen=True, kw_only=True)
class GainOptions:
    """Gains behind the MLPs (method gain).

    Attributes:
        start: what the gains start at.
    """

    start: float = 1.0


@dataclass
class GainConfig(MethodConfig):
    """The settings of GainOptions, as PEFT keeps them."""

    method_type = PeftTypeName("GAIN")
    start: float = 1.0


class GainLayer(MethodLayer):
    """The last layer of an MLP, (B, N, h) to (B, N, d), with a gain for each channel."""

    adapter_layer_names = ("gain_scale",)

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__(base_layer)
        self.gain_scale = nn.ParameterDict()

    def add(self, adapter_name: str, config: GainConfig) -> None:
        scale = torch.full((self.base_layer.out_features,), config.start)
        self.gain_scale[adapter_name] = nn.Parameter(scale)

    def forward(self, x: Tensor) -> Tensor:
        y = self.base_layer(x)
        for name in [] if self.merged else self._on(self.gain_scale):
            y = y * self.gain_scale[name]
        return y

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        for name in self.active_adapters:
            self.base_layer.weight *= self.gain_scale[name][:, None]
            self.base_layer.bias *= self.gain_scale[name]
            self.merged_adapters.append(name)

    @torch.no_grad()
    def unmerge(self) -> None:
        while self.merged_adapters:
            name = self.merged_adapters.pop()
            self.base_layer.weight /= self.gain_scale[name][:, None]
            self.base_layer.bias /= self.gain_scale[name]


class GainModel(MethodModel):
    """Gains for models whose MLPs end in ``fc2``."""

    prefix = "gain_"
    tuner_layer_cls = layer_kind = GainLayer

    def wrapped(self, config: GainConfig, model: nn.Module) -> list[str]:
        return [name for name, _ in model.named_modules() if name.endswith(".fc2")]


register_tuner(GainConfig.method_type, GainConfig, GainModel)


def build(model: nn.Module, options: GainOptions, head: str) -> nn.Module:
    return get_peft_model(model, GainConfig(start=options.start, modules_to_save=[head]))


SPEC = MethodSpec(
    name="gain",
    summary="a gain for each channel that an MLP gives",
    options=GainOptions,
    build=build,
    lr=1e-2,
    parts=(Part(name="gains", held_in="gain_scale"),),
    saved_as={"peft_type": "GAIN"},
    tuner=__name__,
    folds=True,
)

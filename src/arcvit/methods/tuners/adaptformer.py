"""AdaptFormer: a small bottleneck beside every MLP of a frozen backbone.

"AdaptFormer: Adapting Vision Transformers for Scalable Visual Recognition" (NeurIPS 2022, arXiv
2205.13535), equation 3: ``s * ReLU(LN(x) W_down) W_up`` is added to ``MLP(LN(x))``. The authors'
code gives the branch x itself rather than LN(x); we follow the paper.

B  batch, N  tokens, d  width, r  bottleneck
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch.nn.functional as F
from torch import Tensor, nn

from arcvit.arc.config import PeftTypeName
from arcvit.arc.register import register_tuner
from arcvit.core.errors import UserError
from arcvit.core.settings import Positive, Range, Share
from arcvit.methods.tuners.tuner import MethodConfig, MethodLayer, MethodModel

ADAPTFORMER_TYPE = PeftTypeName("ADAPTFORMER")


@dataclass
class AdaptFormerConfig(MethodConfig):
    """The settings of ``AdaptFormerOptions``, as PEFT keeps them."""

    method_type = ADAPTFORMER_TYPE

    r: Annotated[int, Range(at_least=1, at_most=100_000)] = 64
    scale: Positive = 0.1
    dropout: Share = 0.1


class AdaptFormerLayer(MethodLayer):
    """An MLP with a bottleneck beside it.

    Args:
        base_layer: the MLP.
        width: size d of its input.
    """

    adapter_layer_names = ("adaptformer_down", "adaptformer_up")

    def __init__(self, base_layer: nn.Module, width: int) -> None:
        super().__init__(base_layer)
        self.width = width
        self.adaptformer_down = nn.ModuleDict()
        self.adaptformer_up = nn.ModuleDict()
        self.scale: dict[str, float] = {}
        self.dropout: dict[str, float] = {}

    def add(self, adapter_name: str, config: AdaptFormerConfig) -> None:
        """Kaiming-uniform down, zero up: the branch adds nothing at first."""
        down, up = nn.Linear(self.width, config.r), nn.Linear(config.r, self.width)
        nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
        for zero in (down.bias, up.weight, up.bias):
            nn.init.zeros_(zero)
        self.adaptformer_down[adapter_name] = down
        self.adaptformer_up[adapter_name] = up
        self.scale[adapter_name] = config.scale
        self.dropout[adapter_name] = config.dropout

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The MLP's output with the branch's, (B, N, d)."""
        y: Tensor = self.base_layer(x, *args, **kwargs)
        for name in self._on(self.adaptformer_down):
            bottleneck = F.relu(self.adaptformer_down[name](x))
            bottleneck = F.dropout(bottleneck, self.dropout[name], self.training)
            y = y + self.adaptformer_up[name](bottleneck) * self.scale[name]
        return y


class AdaptFormerModel(MethodModel):
    """AdaptFormer for models whose blocks have an ``mlp`` that starts with a linear ``fc1``."""

    prefix = "adaptformer_"
    tuner_layer_cls = AdaptFormerLayer
    layer_kind = AdaptFormerLayer

    def wrapped(self, config: AdaptFormerConfig, model: nn.Module) -> list[str]:
        """The MLP of every block."""
        del config
        names = [
            name
            for name, module in model.named_modules()
            if name.rpartition(".")[2] == "mlp" and _input_width(module) is not None
        ]
        if not names:
            raise UserError(
                f"adaptformer can't be put on {type(model).__name__}: expected blocks with an mlp"
                " of fc1 and fc2."
            )
        return names

    def make_layer(
        self, config: AdaptFormerConfig, model: nn.Module, name: str
    ) -> AdaptFormerLayer:
        """The wrapper of an MLP."""
        del config
        mlp = model.get_submodule(name)
        width = _input_width(mlp)
        assert width is not None
        return AdaptFormerLayer(mlp, width)


def _input_width(mlp: nn.Module) -> int | None:
    first = getattr(mlp, "fc1", None)
    first = getattr(first, "base_layer", first)
    return first.in_features if isinstance(first, nn.Linear) else None


register_tuner(ADAPTFORMER_TYPE, AdaptFormerConfig, AdaptFormerModel)

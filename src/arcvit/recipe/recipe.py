"""A recipe: everything that decides what a run does. No torch: the command line reads this."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from arcvit.core.errors import UserError
from arcvit.core.settings import Range, check_settings
from arcvit.data.config import SEEDS, DataConfig
from arcvit.engine.config import EngineConfig, OptimConfig
from arcvit.recipe.options import AdaptFormerOptions, VeraOptions, VptOptions

Method = Literal[
    "arc",
    "arc_att",
    "linear",
    "full",
    "bitfit",
    "lnorm",
    "lora",
    "vera",
    "vpt",
    "adaptformer",
    "ssf",
]

DEFAULT_LR: Mapping[str, float] = {
    "arc": 5e-3,
    "arc_att": 5e-3,
    "linear": 3e-3,
    "full": 1e-4,
    "bitfit": 5e-3,
    "lnorm": 5e-3,
    "lora": 2e-3,
    "vera": 1e-2,
    "vpt": 5e-3,
    "adaptformer": 2e-3,
    "ssf": 5e-3,
}
"""Learning rates of the methods. docs/defaults.md says which were chosen by trying."""


@dataclass(frozen=True, kw_only=True)
class ArcOptions:
    """The ARC adapters (methods arc and arc_att).

    Attributes:
        r: width of the bottleneck.
        dropout: dropout in the bottleneck, after the re-scaling.
        bias: arc: each adapter learns a bias; none: it has none.
    """

    r: int = 50
    dropout: float = 0.1
    bias: Literal["arc", "none"] = "arc"

    def __post_init__(self) -> None:
        ranges = {"r": Range(at_least=1), "dropout": Range(at_least=0, below=1)}
        check_settings("arc", self, ranges)


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """LoRA as PEFT implements it (method lora).

    Attributes:
        r: rank.
        alpha: scale of the update is alpha / r.
        dropout: dropout before the down-projection.
        targets: linear layers adapted, by the end of their names.
    """

    r: int = 8
    alpha: int = 8
    dropout: float = 0.0
    targets: list[str] = field(default_factory=lambda: ["qkv", "fc1"])

    def __post_init__(self) -> None:
        ranges = {
            "r": Range(at_least=1),
            "alpha": Range(at_least=1),
            "dropout": Range(at_least=0, below=1),
        }
        check_settings("lora", self, ranges)
        if not self.targets:
            raise UserError("lora.targets is empty: expected names of linear layers, as [qkv].")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a run does.

    Attributes:
        data: the images.
        backbone: timm name, file or folder of a pretrained vision transformer, or demo, which is
            bundled and needs no network.
        weights: pretrained (the backbone's own, from the hub or beside the file), random, or a
            local .safetensors or .pth file.
        image_size: edge of the input in pixels; default: the backbone's own.
        drop_path: stochastic depth of the backbone while training.
        method: what is trained beside the head: arc, arc_att, linear (nothing), full, bitfit
            (biases), lnorm (LayerNorms), lora, vera, vpt, adaptformer or ssf.
        arc: the ARC adapters.
        lora: LoRA.
        vera: VeRA.
        vpt: visual prompt tuning.
        adaptformer: AdaptFormer.
        optim: the optimizer.
        engine: the training loop.
        seed: seed of order, initialisation and dropout.
    """

    data: DataConfig
    backbone: str = "demo"
    weights: str = "pretrained"
    image_size: int | None = None
    drop_path: float = 0.0
    method: Method = "arc"
    arc: ArcOptions = field(default_factory=ArcOptions)
    lora: LoraOptions = field(default_factory=LoraOptions)
    vera: VeraOptions = field(default_factory=VeraOptions)
    vpt: VptOptions = field(default_factory=VptOptions)
    adaptformer: AdaptFormerOptions = field(default_factory=AdaptFormerOptions)
    optim: OptimConfig = field(default_factory=OptimConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = {
            "image_size": Range(at_least=1),
            "drop_path": Range(at_least=0, below=1),
            "seed": SEEDS,
        }
        check_settings("", self, ranges)

    def resolved(self) -> "Recipe":
        """The recipe with the method's own learning rate filled in where none is given."""
        if self.optim.lr is not None:
            return self
        optim = dataclasses.replace(self.optim, lr=DEFAULT_LR[self.method])
        return dataclasses.replace(self, optim=optim)

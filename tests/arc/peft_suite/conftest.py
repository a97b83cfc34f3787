"""Backbones and adapters on which every PEFT behaviour is checked.

The MLP has plain linear layers. In the tiny ViT the sites are norms, and blocks share projections.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import timm
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn

from arcvit import ArcConfig, ArcLayer

PREFIX = "arc_"


class Mlp(nn.Module):
    """Two linear layers of widths 10 and 20, as in PEFT's own suite."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.lin0 = nn.Linear(10, 20, bias=bias)
        self.relu = nn.ReLU()
        self.drop = nn.Dropout(0.5)
        self.lin1 = nn.Linear(20, 2, bias=bias)
        self.log_softmax = nn.LogSoftmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(self.relu(self.lin0(x.to(self.lin0.weight.dtype))))
        return self.log_softmax(self.lin1(hidden))


def build_mlp(bias: bool = True) -> Mlp:
    torch.manual_seed(0)
    return Mlp(bias).eval()


def build_vit(**changes: Any) -> nn.Module:
    torch.manual_seed(0)
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5, **(size | changes))
    nn.init.normal_(model.head.weight, std=0.5)
    return model.eval()


@dataclass(frozen=True)
class Case:
    """A backbone, always with the same weights, and the settings of an adapter for it."""

    backbone: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def x(self) -> Tensor:
        shape = (9, 10) if self.backbone == "mlp" else (4, 3, 32, 32)
        return torch.randn(shape, generator=torch.Generator().manual_seed(7))

    @property
    def foldable(self) -> bool:
        return self.settings.get("placement") != "before_norm"

    def base(self) -> nn.Module:
        return build_mlp() if self.backbone == "mlp" else build_vit()

    def config(self, **changes: Any) -> ArcConfig:
        return ArcConfig(**(self.settings | changes))

    def fresh(self, name: str = "default", **changes: Any) -> PeftModel:
        """The model as get_peft_model makes it."""
        return get_peft_model(self.base(), self.config(**changes), adapter_name=name)

    def wrapped(self, *names: str, **changes: Any) -> PeftModel:
        """A model with adapters as if trained, each with values of its own, in eval mode."""
        first, *others = names or ("default",)
        model = self.fresh(first, **changes)
        for name in others:
            model.add_adapter(name, self.config(**changes))
        for seed, name in enumerate(names or ("default",)):
            stir(model, name, seed)
        return model.eval()


MLP = {"target_modules": ["lin0", "lin1"], "r": 4}
VIT = {"r": 3}
CASES = {
    "mlp": Case("mlp", MLP),
    "mlp-head": Case("mlp", {"target_modules": ["lin0"], "r": 4, "modules_to_save": ["lin1"]}),
    "mlp-all-linear": Case("mlp", MLP | {"target_modules": "all-linear"}),
    "vit": Case("vit", VIT),
    "vit-att": Case("vit", VIT | {"variant": "arc_att"}),
    "vit-head": Case("vit", VIT | {"modules_to_save": ["head"]}),
    "vit-share-all": Case("vit", VIT | {"share": "all", "adapter_bias": False}),
    "vit-share-none": Case("vit", VIT | {"share": "none"}),
    "vit-separate": Case("vit", VIT | {"up_projection": "separate"}),
    "vit-full-core": Case("vit", VIT | {"core": "full", "sites": "both"}),
    "vit-list": Case("vit", VIT | {"target_modules": ["norm2"]}),
    "vit-regex": Case("vit", VIT | {"target_modules": r"blocks\.\d\.norm[12]"}),
    "vit-linears": Case("vit", VIT | {"target_modules": ["qkv", "fc1"]}),
    "vit-before-norm": Case("vit", VIT | {"placement": "before_norm"}),
}
TARGETS = ("mlp", "mlp-all-linear", "vit", "vit-list", "vit-regex", "vit-linears")
"""Every way of naming sites."""

KINDS = ("mlp", "vit-head", "vit-full-core", "vit-separate", "vit-before-norm")
"""Adapters that differ in what they hold, share or wrap."""

SOME = ("mlp", "vit-head", "vit-separate")
FEW = ("mlp", "vit-head")


@pytest.fixture(params=TARGETS)
def every(request: pytest.FixtureRequest) -> Case:
    """Every way of naming sites."""
    return CASES[request.param]


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest) -> Case:
    """Every kind of adapter."""
    return CASES[request.param]


@pytest.fixture(params=[name for name in KINDS if CASES[name].foldable])
def foldable(request: pytest.FixtureRequest) -> Case:
    """Every kind of adapter that can be folded."""
    return CASES[request.param]


@pytest.fixture(params=["mlp", "vit-full-core"])
def headless(request: pytest.FixtureRequest) -> Case:
    """Adapters that can be active together: saved modules don't add up."""
    return CASES[request.param]


@pytest.fixture(params=SOME)
def some(request: pytest.FixtureRequest) -> Case:
    """A case for each way of sharing projections, for what has many variants of its own."""
    return CASES[request.param]


@pytest.fixture(params=FEW)
def few(request: pytest.FixtureRequest) -> Case:
    """One MLP and one ViT with a head, for what doesn't depend on the settings."""
    return CASES[request.param]


@pytest.fixture
def one() -> Case:
    """A ViT with a head, for what is the same everywhere."""
    return CASES["vit-head"]


@pytest.fixture(scope="session")
def cases() -> dict[str, Case]:
    return CASES


@pytest.fixture
def mlp() -> Callable[..., Mlp]:
    return build_mlp


@pytest.fixture
def vit() -> Callable[..., nn.Module]:
    return build_vit


@torch.no_grad()
def stir(model: nn.Module, name: str = "default", seed: int = 0) -> None:
    """Give an adapter values as training might, its head included."""
    draws = torch.Generator().manual_seed(100 + seed)
    for key, parameter in model.named_parameters():
        saved = f"modules_to_save.{name}." in key
        if saved or (f".{PREFIX}" in key and key.endswith(f".{name}")):
            noise = torch.randn(parameter.shape, generator=draws)
            parameter.add_((0.3 * noise).to(parameter))


@pytest.fixture(name="stir")
def _stir() -> Callable[..., None]:
    return stir


@pytest.fixture
def layers() -> Callable[[nn.Module], list[ArcLayer]]:
    """All sites of a model."""
    return lambda model: [m for m in model.modules() if isinstance(m, ArcLayer)]


@pytest.fixture
def run() -> Callable[..., Tensor]:
    """The outputs of a model, without gradients."""

    def outputs(model: nn.Module, x: Tensor, **kwargs: Any) -> Tensor:
        with torch.no_grad():
            return model(x, **kwargs)

    return outputs


@pytest.fixture
def own() -> Callable[..., dict[str, nn.Parameter]]:
    """The parameters that belong to an adapter, by name: its saved modules included."""

    def parameters(model: nn.Module, name: str = "default") -> dict[str, nn.Parameter]:
        return {
            key: parameter
            for key, parameter in model.named_parameters()
            if key.endswith(f".{name}") or f"modules_to_save.{name}." in key
        }

    return parameters

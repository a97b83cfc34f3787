"""What each method trains: the exact parameters, by ownership."""

from pathlib import Path

import pytest
from torch import nn

from arcvit import ArcLayer
from arcvit.backbones.build import Backbone, build_backbone
from arcvit.core.errors import UserError
from arcvit.engine.groups import parameters_by_part
from arcvit.recipe.methods import adapt
from arcvit.recipe.parser import parse_recipe
from arcvit.recipe.recipe import Recipe

CLASSES, WIDTH, BLOCKS, R = 4, 32, 2, 8
HEAD = CLASSES * WIDTH + CLASSES
HEAD_NAMES = {"head.weight", "head.bias"}


@pytest.fixture
def backbone(tiny: Path) -> Backbone:
    return build_backbone(str(tiny), num_classes=CLASSES)


def recipe(method: str) -> Recipe:
    return parse_recipe(["--data.path=p", f"--arc.r={R}", f"--method={method}"])


def adapted(backbone: Backbone, method: str) -> nn.Module:
    return adapt(backbone.model, recipe(method), backbone.head)


def trained_names(model: nn.Module) -> set[str]:
    """Names of trained parameters as the plain model has them."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    for part in ("base_model.model.", "modules_to_save.default.", ".default"):
        names = [name.replace(part, "") for name in names]
    assert len(set(names)) == len(names)
    return set(names)


SITES = {
    "arc": [f"blocks.{i}.norm{n}" for i in range(BLOCKS) for n in (1, 2)],
    "arc_att": [f"blocks.{i}.norm1" for i in range(BLOCKS)],
}


@pytest.mark.parametrize("method", SITES)
def test_arc_trains_its_parameters_and_the_head(backbone: Backbone, method: str) -> None:
    model = adapted(backbone, method)
    owners = SITES[method][:2] if method == "arc" else SITES[method][:1]
    expected = HEAD_NAMES | {f"{site}.arc_projection" for site in owners}
    for site in SITES[method]:
        expected |= {f"{site}.arc_coefficients", f"{site}.arc_bias"}
    assert trained_names(model) == expected
    groups, sites = len(owners), len(SITES[method])
    parts = {
        part: sum(p.numel() for p in parameters)
        for part, parameters in parameters_by_part(
            model, model.base_model.model.head, recipe(method).spec.parts
        ).items()
    }
    assert parts == {
        "projection": groups * WIDTH * R,
        "coefficients": sites * R,
        "bias": sites * WIDTH,
        "head": HEAD,
    }


def test_linear_trains_the_head_alone(backbone: Backbone) -> None:
    assert trained_names(adapted(backbone, "linear")) == HEAD_NAMES


def test_bitfit_trains_every_bias_and_the_head(backbone: Backbone) -> None:
    biases = {n for n, _ in backbone.model.named_parameters() if n.rpartition(".")[2] == "bias"}
    assert trained_names(adapted(backbone, "bitfit")) == biases | HEAD_NAMES


def test_full_trains_everything(backbone: Backbone) -> None:
    every = {name for name, _ in backbone.model.named_parameters()}
    model = adapted(backbone, "full")
    assert model is backbone.model
    assert trained_names(model) == every


def test_lora_trains_its_matrices_and_the_head(backbone: Backbone) -> None:
    layers = [f"blocks.{i}.{leaf}" for i in range(BLOCKS) for leaf in ("attn.qkv", "mlp.fc1")]
    expected = {f"{layer}.lora_{m}.weight" for layer in layers for m in "AB"}
    assert trained_names(adapted(backbone, "lora")) == expected | HEAD_NAMES


@pytest.mark.parametrize("method", ["arc", "arc_att", "linear", "bitfit", "lora"])
def test_the_frozen_rest_is_really_frozen(backbone: Backbone, method: str) -> None:
    model = adapted(backbone, method)
    layers = [module for module in model.modules() if isinstance(module, ArcLayer)]
    assert len(layers) == len(SITES.get(method, []))
    assert not backbone.model.get_parameter("patch_embed.proj.weight").requires_grad
    assert not backbone.model.get_parameter("pos_embed").requires_grad


WRONG = [
    ("lora:targets=[qvk]", "lora.targets names 'qvk', which this backbone hasn't"),
    ("lora:targets=[qvk]", "Did you mean 'qkv'?"),
    ("lora:targets=[]", "lora.targets is empty: expected names of linear layers"),
    ("vera:targets=[qkv, fc9]", "vera.targets names 'fc9'"),
    ("lora:targets=[norm1]", "(LayerNorm) can't carry an adapter"),
    (f"arc:r={WIDTH + 1}", "r=33 is larger than the width 32"),
    ("peft", "peft.config.peft_type is '': expected one of"),
    ("peft:config={peft_type: LORAA}", "Did you mean 'LORA'"),
    ("peft:config={peft_type: LORA, rr: 3}", "has 'rr', which LORA of this PEFT doesn't know"),
    ("peft:config={peft_type: LORA, target_modules: [nowhere]}", "No modules were targeted"),
    ("peft:config={peft_type: PROMPT_TUNING}", "expected a tuner of layers"),
]


@pytest.mark.parametrize(("method", "sentence"), WRONG)
def test_what_a_backbone_cant_carry(backbone: Backbone, method: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        adapted(backbone, method)
    assert sentence in str(caught.value)


def test_a_backbone_without_known_sites() -> None:
    resnet = build_backbone("resnet18", num_classes=CLASSES, weights="random")
    with pytest.raises(UserError, match="ResNet is not a known family"):
        adapted(resnet, "arc")

"""What is decided before the model is touched: which modules, and what is refused."""

import pytest
import timm
import torch
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig, ArcLayer
from arcvit.core.errors import UserError


def vit() -> nn.Module:
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=2,
        num_classes=5,
    )  # fmt: skip


def sites(model: nn.Module) -> list[str]:
    return [layer.name for layer in model.modules() if isinstance(layer, ArcLayer)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"target_modules": ["norm1"], "layers_to_transform": [1]}, ["blocks.1.norm1"]),
        ({"target_modules": ["norm1"], "layers_to_transform": 2}, ["blocks.2.norm1"]),
        (
            {"layers_to_transform": [0], "layers_pattern": "blocks"},
            ["blocks.0.norm1", "blocks.0.norm2"],
        ),
        ({"variant": "arc_ffn", "layers_to_transform": [0]}, ["blocks.0.norm2"]),
        (
            {"target_modules": r"blocks\.[01]\.norm1", "exclude_modules": ["blocks.0.norm1"]},
            ["blocks.1.norm1"],
        ),
        ({"target_modules": ["blocks.2.norm1", "blocks.0.mlp.fc1"]}, None),
    ],
)
def test_targets_become_full_names(settings, expected) -> None:
    model = get_peft_model(vit(), ArcConfig(r=2, **settings))
    config = model.peft_config["default"]
    if expected is not None:
        assert sites(model) == expected
    assert sorted(config.target_modules) == sorted(sites(model))
    assert config.layers_to_transform is None
    again = get_peft_model(vit(), ArcConfig(**{**settings, "r": 2}))
    assert sites(again) == sites(model)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"modules_to_save": ["haed"]}, "modules_to_save names 'haed', which VisionTransformer"),
        ({"num_classes": 3}, "num_classes=3 can't be had: modules_to_save names no linear layer"),
        ({"num_classes": 3, "modules_to_save": ["norm"]}, "num_classes=3 can't be had"),
        ({"r": 33}, "r=33 is larger than the width 32 of 'blocks.0.norm1'"),
        ({"rank_pattern": {r"blocks\.2\.norm2": 40}}, "r=40 is larger than the width 32"),
        ({"target_modules": ["norm1", "attn"]}, r"'blocks.0.attn' \(Attention\) can't carry"),
        ({"ffn_placement": "residual"}, "ffn_placement='residual' is the authors' Swin code"),
        ({"projection": "lender"}, "projection='lender' names an adapter that isn't loaded"),
        ({"consumers": {"norm1": ["attn.qvk"]}}, "consumer 'blocks.0.attn.qvk' of"),
    ],
)
def test_what_is_refused_leaves_the_model_alone(settings, said) -> None:
    model = vit()
    kinds = [type(module) for module in model.modules()]
    with pytest.raises(UserError, match=said):
        get_peft_model(model, ArcConfig(**{"r": 4, **settings}))
    assert [type(module) for module in model.modules()] == kinds
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_heads_get_the_number_of_classes() -> None:
    model = get_peft_model(vit(), ArcConfig(r=2, modules_to_save=["head"], num_classes=3))
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


def test_a_task_types_own_names_of_heads_need_not_all_be_there() -> None:
    config = ArcConfig(r=2, task_type="SEQ_CLS", modules_to_save=["head", "classifier"])
    assert "head" in dict(get_peft_model(vit(), config).base_model.model.named_modules())


@torch.no_grad()
def test_a_fresh_adapter_is_the_identity_but_before_the_ffn() -> None:
    x = torch.randn(2, 3, 32, 32)
    for settings, identity in (
        ({"variant": "arc_att"}, True),
        ({"target_modules": ["qkv"]}, True),
        ({"variant": "arc_ffn"}, False),
        ({"variant": "arc_att", "init_weights": False}, False),
    ):
        torch.manual_seed(0)
        base = vit().eval()
        nn.init.normal_(base.head.weight)
        expected = base(x)
        model = get_peft_model(base, ArcConfig(r=4, **settings)).eval()
        assert torch.allclose(model(x), expected, atol=1e-4) is identity, settings

"""A method that would train what the model never looks at is refused."""

import pytest
import timm
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.core.errors import UserError
from arcvit.methods.effect import without_effect
from arcvit.recipe.methods import adapt, check_effect
from arcvit.recipe.parser import parse_recipe

VIT = {"img_size": 28, "patch_size": 14, "embed_dim": 32, "depth": 2, "num_heads": 2}
SWIN = {"img_size": 28, "window_size": 4, "embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2)}
MODELS = {
    "vit_tiny_patch16_224": VIT,
    "beit_base_patch16_224": VIT,
    "eva02_tiny_patch14_224": VIT,
    "swinv2_tiny_window8_256": SWIN,
}
BYPASS_QKV = list(MODELS)[1:]


def backbone(name: str) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=4, **MODELS[name])


@pytest.mark.parametrize("method", ["linear", "bitfit", "lnorm", "lora", "ssf", "arc"])
@pytest.mark.parametrize("name", list(MODELS))
def test_what_has_no_effect_is_refused_by_name(name: str, method: str) -> None:
    flags = [f"--backbone={name}", f"--method={method}", "--arc.r=4", "--data.path=p"]
    recipe = parse_recipe(flags)
    model = adapt(backbone(name), recipe, "head.fc" if "swin" in name else "head")
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    if name in BYPASS_QKV and method in ("lora", "ssf"):
        with pytest.raises(UserError, match=rf"{method}' has no effect at 2 .*\.attn\.qkv'"):
            check_effect(model, recipe, (28, 28))
    else:
        check_effect(model, recipe, (28, 28))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_biases_of_keys_are_exempt() -> None:
    model = backbone("vit_tiny_patch16_224")
    model.blocks[0].attn.k_proj = nn.Linear(3, 3)
    adapted = get_peft_model(model, LoraConfig(target_modules=["fc1"]))
    for name, parameter in adapted.named_parameters():
        parameter.requires_grad_("k_proj" in name)
    assert without_effect(adapted, (28, 28)) == ["base_model.model.blocks.0.attn.k_proj.weight"]


@pytest.mark.parametrize("name", BYPASS_QKV)
def test_arc_on_a_layer_that_is_not_called_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"attn\.qkv' can't carry an adapter: its module takes"):
        get_peft_model(backbone(name), ArcConfig(r=4, target_modules=["qkv"]))

"""An adapter as LoRA: at the consumers, and by PEFT's own conversion where it fits."""

import pytest
import timm
import torch
from peft import LoraConfig, convert_to_lora, get_peft_model, set_peft_model_state_dict
from torch import nn

from arcvit import ArcConfig
from arcvit.arc.fold import lora_at_consumers

SIZE = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
SWIN = {"img_size": 36, "window_size": 4, "embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2)}
BACKBONES = {
    "vit": lambda: timm.create_model("vit_tiny_patch16_224", **SIZE),
    "swin": lambda: timm.create_model("swin_tiny_patch4_window7_224", **SWIN),
    "mlp": lambda: nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 2)),
}
INPUTS = {"vit": (2, 3, 32, 32), "swin": (2, 3, 36, 36), "mlp": (4, 10)}


def adapted(backbone: str, **settings) -> nn.Module:
    torch.manual_seed(0)
    if backbone == "mlp":
        settings = {"target_modules": ["0", "2"], **settings}
    config = ArcConfig(**{"r": 4, "init_weights": False, **settings})
    return get_peft_model(BACKBONES[backbone]().double(), config).double().eval()


@torch.no_grad()
@pytest.mark.parametrize(
    ("backbone", "settings"),
    [
        ("vit", {}),
        ("vit", {"sites": "both", "core": "full"}),
        ("swin", {"adapter_bias": False, "up_projection": "separate"}),
        ("swin", {"sites": "both"}),
        ("mlp", {}),
        ("mlp", {"adapter_bias": False, "up_projection": "separate"}),
    ],
)
def test_lora_at_the_consumers_is_the_adapter(backbone: str, settings) -> None:
    model = adapted(backbone, **settings)
    x = torch.randn(INPUTS[backbone], dtype=torch.float64)
    expected = model(x)
    found = lora_at_consumers(model.base_model.model, "default")
    has_bias = settings.get("adapter_bias", True)
    config = LoraConfig(r=4, lora_alpha=4, target_modules=list(found), lora_bias=has_bias)
    lora = get_peft_model(model.unload(), config).double().eval()
    assert not torch.allclose(lora(x), expected, atol=1e-3)
    for name, factors in found.items():
        layer = lora.base_model.model.get_submodule(name)
        layer.lora_A["default"].weight.copy_(factors.a)
        layer.lora_B["default"].weight.copy_(factors.b)
        if has_bias:
            layer.lora_B["default"].bias.copy_(factors.bias)
        else:
            assert factors.bias is None
    torch.testing.assert_close(lora(x), expected, rtol=1e-10, atol=1e-10)


def test_where_no_lora_layer_would_be_called_it_is_refused() -> None:
    beit = timm.create_model("beit_base_patch16_224", **SIZE)
    model = get_peft_model(beit, ArcConfig(r=4))
    with pytest.raises(ValueError, match=r"'blocks\.0\.attn\.qkv' can't carry LoRA"):
        lora_at_consumers(model.base_model.model, "default")
    before = adapted("vit", placement="before_norm")
    with pytest.raises(ValueError, match="placement='before_norm'"):
        lora_at_consumers(before.base_model.model, "default")


@torch.no_grad()
def test_peft_converts_plain_linear_sites_without_a_bias() -> None:
    model = adapted("mlp", adapter_bias=False)
    x = torch.randn(4, 10, dtype=torch.float64)
    expected = model(x)
    assert model.supports_lora_conversion()
    config, state = convert_to_lora(model, rank=1.0)
    lora = get_peft_model(model.unload(), config).double().eval()
    set_peft_model_state_dict(lora, state)
    torch.testing.assert_close(lora(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("backbone", "settings"), [("mlp", {}), ("vit", {"adapter_bias": False})])
def test_peft_converts_nothing_else(backbone: str, settings) -> None:
    model = adapted(backbone, **settings)
    assert not model.supports_lora_conversion()
    with pytest.raises(TypeError, match="do not support LoRA conversion"):
        convert_to_lora(model, rank=1.0)

"""Quantized backbones train, because the adapter acts on the input of the linear layers."""

import pytest
import timm
import torch
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig


def quantized(bits: int) -> nn.Module:
    pytest.importorskip("torchao", reason="make test-quantized runs these")
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig, quantize_
    from torchao.quantization.granularity import PerGroup

    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=2,
        num_classes=5,
    )  # fmt: skip
    config = (
        Int8WeightOnlyConfig()
        if bits == 8
        else IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32))
    )
    quantize_(model.blocks, config)
    return model


@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_backbone_trains_and_folds_on_request(bits: int) -> None:
    model = get_peft_model(quantized(bits), ArcConfig(r=4, modules_to_save=["head"]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
            else:
                assert "arc_" not in name
    images = torch.randn(2, 3, 32, 32)
    model(images).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)

    model.eval()
    with torch.no_grad():
        before = model(images)
        with pytest.raises(ValueError, match=r"'qkv' is quantized .* dequantize_consumers\(\)"):
            model.merge_adapter()
        assert torch.equal(model(images), before), "the refusal changed the model"
        model.dequantize_consumers()
        torch.testing.assert_close(model(images), before, rtol=1e-4, atol=1e-4)
        model.merge_adapter(safe_merge=True)
        torch.testing.assert_close(model(images), before, rtol=1e-4, atol=1e-4)

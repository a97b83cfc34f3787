"""Backbones with quantized weights: they train, and are folded only on request."""

import pytest
import torch
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig


def test_an_integer_weight_is_not_folded_into(mlp):
    model = get_peft_model(mlp(), ArcConfig(r=2, target_modules=["lin0"]))
    layer = model.base_model.model.lin0.base_layer
    weight = torch.ones(layer.weight.shape, dtype=torch.int8)
    layer.weight = nn.Parameter(weight.clone(), requires_grad=False)
    for fold in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(ValueError, match=r"'lin0' is quantized \(Tensor, torch.int8\)"):
            fold()
    assert torch.equal(layer.weight, weight)


def test_a_backbone_in_eight_bits_trains_and_folds_once_dequantized(mlp, run, stir):
    quantization = pytest.importorskip("torchao.quantization")
    base = mlp()
    quantization.quantize_(base, quantization.Int8WeightOnlyConfig())
    model = get_peft_model(base, ArcConfig(r=2, target_modules=["lin0", "lin1"]))
    x = torch.randn(4, 10)
    model(x).square().mean().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    stir(model)
    expected = run(model.eval(), x)
    with pytest.raises(ValueError, match=r"is quantized .*dequantize_consumers"):
        model.merge_adapter()
    assert torch.equal(run(model, x), expected)
    model.base_model.dequantize_consumers()
    assert torch.allclose(run(model, x), expected, atol=1e-2)
    model.merge_adapter()
    assert torch.allclose(run(model, x), expected, atol=1e-2)

"""A folded model of transformers: written whole, or refused."""

from pathlib import Path

import pytest
import torch
import transformers
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.core.errors import UserError
from arcvit.export.transformers_folder import export_transformers

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 3,
}
PROCESSOR = {"size": {"height": 32, "width": 32}}


def vit_without_biases() -> nn.Module:
    config = transformers.ViTConfig(**SMALL, qkv_bias=False)
    return transformers.ViTForImageClassification(config)


def beit() -> nn.Module:
    return transformers.BeitForImageClassification(transformers.BeitConfig(**SMALL))


@pytest.mark.parametrize("build", [vit_without_biases, beit])
def test_biases_of_folding_are_kept(build, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = get_peft_model(build(), ArcConfig(r=3)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        probe = torch.randn(2, 3, 32, 32)
        expected = model(probe).logits
    out = tmp_path / "deep" / "out"
    folded = model.merge_and_unload()
    how = {"processor": PROCESSOR, "probe": probe, "expected": expected}
    assert export_transformers(folded, out, **how) < 1e-5
    with pytest.raises(UserError, match="is there already: choose another --out"):
        export_transformers(folded, out, **how)
    with pytest.raises(UserError, match="expected a folder, which is how transformers keeps"):
        export_transformers(folded, tmp_path / "m.safetensors", **how)
    with pytest.raises(UserError, match="nothing was written; please report this"):
        export_transformers(folded, tmp_path / "b", **{**how, "expected": expected + 1})
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]

"""A folded model of transformers: written whole, or refused."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.core.errors import UserError
from arcvit.export.adapted import AdaptedModel
from arcvit.export.timm_folder import write_timm
from arcvit.export.transformers_folder import write_transformers

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 3,
}


def vit_without_biases() -> nn.Module:
    config = transformers.ViTConfig(**SMALL, qkv_bias=False)
    return transformers.ViTForImageClassification(config)


def beit() -> nn.Module:
    return transformers.BeitForImageClassification(transformers.BeitConfig(**SMALL))


@pytest.mark.parametrize("build", [vit_without_biases, beit])
def test_biases_of_folding_are_kept(
    build: Callable[[], nn.Module], adapted: Callable[..., AdaptedModel], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = get_peft_model(build(), ArcConfig(r=3)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    run = adapted(model, head="classifier")
    cropped = dataclasses.replace(run.preprocessing, resize="shortest", resize_size=37)
    run = dataclasses.replace(run, preprocessing=cropped)
    written = write_transformers([run], tmp_path / "m")
    assert written.difference < 1e-5
    assert any("rounds down where the centre begins" in note for note in written.notes)
    wide = dataclasses.replace(cropped, size=(32, 48))
    with pytest.raises(UserError, match="covers 37 x 55 pixels and cuts 32 x 48 out"):
        write_transformers([dataclasses.replace(run, preprocessing=wide)], tmp_path / "n")
    with pytest.raises(UserError, match="expected --format transformers for it"):
        write_timm([run], tmp_path / "n")

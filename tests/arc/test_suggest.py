"""The config that a model of no known family is answered with can be pasted, and folds."""

import re

import pytest
import torch
import transformers
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.core.errors import UserError

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def torchvision_vit() -> nn.Module:
    from torchvision.models.vision_transformer import VisionTransformer

    return VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=5)


def hf_swin_v2() -> nn.Module:
    config = transformers.Swinv2Config(
        image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
    )
    return transformers.Swinv2ForImageClassification(config)


def yolos() -> nn.Module:
    config = transformers.YolosConfig(
        **SMALL, intermediate_size=64, image_size=[32, 32], patch_size=8, num_detection_tokens=2
    )
    return transformers.YolosModel(config)


class PreNorm(nn.Sequential):
    """Blocks of nothing but numbers."""

    image_size = 32

    def __init__(self) -> None:
        net = [nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)]
        super().__init__(nn.Linear(32, 32), nn.Sequential(*net), nn.Linear(32, 5))


MODELS = {
    "torchvision": (torchvision_vit, "consumers={'ln_2': ['mlp.0']}"),
    "yolos": (yolos, "consumers={'layernorm_before': "),
    "swin-v2": (hf_swin_v2, "target_modules=['"),
    "numbers": (PreNorm, "consumers={'1.0': ['1']}"),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_the_message_shows_can_be_pasted(name: str) -> None:
    build, expected = MODELS[name]
    torch.manual_seed(0)
    model = build().eval()
    with pytest.raises(UserError, match="is not a known family") as caught:
        get_peft_model(model, ArcConfig(r=3))
    shown = re.search(r"ArcConfig\((.*)\)\. Its", str(caught.value))
    assert shown is not None
    assert shown[1].startswith(expected), shown[1]
    config = eval(f"ArcConfig(r=3, {shown[1]})", {"ArcConfig": ArcConfig})
    adapted = get_peft_model(model, config)
    assert sum(p.requires_grad for p in adapted.parameters())
    adapted.merge_adapter(safe_merge=True)

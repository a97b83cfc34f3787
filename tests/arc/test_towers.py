"""Models with a tower for images and one for text."""

import pytest
import transformers
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig

SIDE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
TEXT = {**SIDE, "vocab_size": 99, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
VISION = {**SIDE, "image_size": 32, "patch_size": 8}


def clip(**vision) -> nn.Module:
    config = transformers.CLIPConfig(text_config=TEXT, vision_config={**VISION, **vision})
    return transformers.CLIPModel(config)


def siglip() -> nn.Module:
    config = transformers.SiglipConfig(text_config=TEXT, vision_config=VISION)
    return transformers.SiglipModel(config)


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = clip()


def trained(model: nn.Module, **settings) -> list[str]:
    adapted = get_peft_model(model, ArcConfig(r=4, **settings))
    return [name for name, p in adapted.named_parameters() if p.requires_grad]


@pytest.mark.parametrize("build", [clip, siglip, Wrapped, lambda: clip(num_channels=12)])
def test_the_vision_tower_is_adapted(build) -> None:
    names = trained(build())
    assert len(names) == 2 + 2 * 2 * 2
    assert all("vision_model" in name for name in names)


def test_a_text_tower_alone_is_adapted() -> None:
    assert trained(clip().text_model)


@pytest.mark.parametrize("share", ["role", "all"])
def test_towers_that_are_named_share_no_projection(share: str) -> None:
    names = trained(clip(), target_modules=["layer_norm1", "layer_norm2"], share=share)
    projections = [name for name in names if "arc_projection" in name]
    of_each = 2 if share == "role" else 1
    assert sum("text_model" in name for name in projections) == of_each
    assert sum("vision_model" in name for name in projections) == of_each

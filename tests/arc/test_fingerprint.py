"""The fingerprint of a backbone: what it sees and what it doesn't."""

import pytest
import timm
import torch
from peft import PeftModel, get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.arc.fingerprint import fingerprint


def vit(seed: int = 0, **changes) -> nn.Module:
    torch.manual_seed(seed)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return timm.create_model("vit_tiny_patch16_224", **{**sizes, "num_classes": 5, **changes})


def mark(model: nn.Module) -> str:
    return fingerprint(model, exclude=["head"])


def test_it_is_the_same_whatever_is_put_on_the_backbone() -> None:
    expected = mark(vit())
    other_head = vit()
    other_head.reset_classifier(9)
    assert mark(other_head) == expected
    arc = get_peft_model(vit(), ArcConfig(r=4, modules_to_save=["head"]))
    assert mark(arc.get_base_model()) == expected
    assert mark(get_peft_model(vit(), ArcConfig(r=4)).unload()) == expected


def test_it_sees_one_changed_value_and_another_shape() -> None:
    changed = vit()
    with torch.no_grad():
        changed.blocks[1].mlp.fc2.bias[3] += 1e-3
    structure, _, values = mark(vit()).partition("-")
    assert mark(changed).partition("-")[0] == structure
    assert mark(changed).partition("-")[2] != values
    assert mark(vit(depth=1)).partition("-")[0] != structure


@pytest.mark.parametrize(
    "change", [lambda m: m.half(), lambda m: m.bfloat16(), lambda m: m.to("meta")]
)
def test_values_are_not_compared_where_they_were_cast_or_are_not_there(change) -> None:
    assert mark(change(vit())) == mark(vit()).partition("-")[0] + "-"


def test_an_adapter_refuses_another_backbone(tmp_path) -> None:
    model = get_peft_model(vit(), ArcConfig(r=4, modules_to_save=["head"]))
    config = model.peft_config["default"]
    config.backbone_fingerprint = mark(vit())
    model.save_pretrained(tmp_path)
    PeftModel.from_pretrained(vit(), str(tmp_path))
    PeftModel.from_pretrained(vit(seed=1).bfloat16(), str(tmp_path))
    with pytest.raises(ValueError, match=r"trained on a backbone .* but VisionTransformer has"):
        PeftModel.from_pretrained(vit(seed=1), str(tmp_path))
    with pytest.raises(ValueError, match="backbone_fingerprint=None"):
        PeftModel.from_pretrained(vit(depth=1), str(tmp_path))
    forced = ArcConfig.from_pretrained(str(tmp_path))
    forced.backbone_fingerprint = None
    PeftModel.from_pretrained(vit(seed=1), str(tmp_path), config=forced)

"""What VPT, AdaptFormer and SSF compute, train, save, and fold."""

import copy
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn

from arcvit.backbones.build import build_backbone
from arcvit.core.errors import UserError
from arcvit.methods.tuners.adaptformer import AdaptFormerConfig
from arcvit.methods.tuners.ssf import SsfConfig
from arcvit.methods.tuners.tuner import MethodConfig
from arcvit.methods.tuners.vpt import VptConfig

CONFIGS = {
    "vpt-deep": VptConfig(prompts=3, modules_to_save=["head"]),
    "vpt-shallow": VptConfig(prompts=3, deep=False, modules_to_save=["head"]),
    "adaptformer": AdaptFormerConfig(r=4, modules_to_save=["head"]),
    "ssf": SsfConfig(modules_to_save=["head"]),
}


@pytest.fixture
def vit(tiny: Path) -> nn.Module:
    return build_backbone(str(tiny), num_classes=4).model


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def adapted(vit: nn.Module, name: str) -> PeftModel:
    torch.manual_seed(0)
    model = get_peft_model(copy.deepcopy(vit), copy.deepcopy(CONFIGS[name]))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_saved_and_loaded(vit: nn.Module, images: torch.Tensor, tmp_path: Path, name: str) -> None:
    model = adapted(vit, name)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(copy.deepcopy(vit), tmp_path).eval()
    torch.testing.assert_close(again(images), model(images), rtol=0, atol=0)
    assert not torch.allclose(model(images), vit.eval()(images))
    with model.disable_adapter():
        torch.testing.assert_close(model(images), vit(images), rtol=0, atol=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_learns(vit: nn.Module, images: torch.Tensor, name: str) -> None:
    model = adapted(vit, name)
    model(images).square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        trained = any(part in parameter_name for part in ("vpt_", "ssf_", "adaptformer_"))
        trained = trained or "modules_to_save" in parameter_name
        assert parameter.requires_grad == trained, parameter_name
        assert (parameter.grad is not None) == trained, parameter_name


def test_deep_prompts_by_hand(vit: nn.Module, images: torch.Tensor) -> None:
    model = adapted(vit, "vpt-deep")
    prompts = [p for n, p in model.named_parameters() if "vpt_prompts" in n and p.shape == (3, 32)]
    plain = model.base_model.model
    assert len(prompts) == len(plain.blocks)
    tokens = plain._pos_embed(plain.patch_embed(images))
    assert tokens.shape[1] == 17
    for block, own in zip(plain.blocks, prompts, strict=True):
        tokens = torch.cat([tokens[:, :1], own.expand(3, -1, -1), tokens[:, 1:]], 1)
        tokens = block.base_layer(tokens)
        tokens = torch.cat([tokens[:, :1], tokens[:, 4:]], 1)
    torch.testing.assert_close(model(images), plain.forward_head(plain.norm(tokens)))


def test_shallow_prompts_go_through_all_blocks(vit: nn.Module, images: torch.Tensor) -> None:
    model = adapted(vit, "vpt-shallow")
    plain = model.base_model.model
    (prompts,) = [p for n, p in model.named_parameters() if "vpt_prompts" in n]
    tokens = plain._pos_embed(plain.patch_embed(images))
    tokens = torch.cat([tokens[:, :1], prompts.expand(3, -1, -1), tokens[:, 1:]], 1)
    for block in plain.blocks:
        tokens = block.base_layer(tokens)
    torch.testing.assert_close(model(images), plain.forward_head(plain.norm(tokens)))


def test_adaptformer_by_hand(vit: nn.Module) -> None:
    layer = adapted(vit, "adaptformer").base_model.model.blocks[0].mlp
    x = torch.randn(2, 5, 32)
    down, up = layer.adaptformer_down["default"], layer.adaptformer_up["default"]
    expected = layer.base_layer(x) + 0.1 * up(torch.relu(down(x)))
    torch.testing.assert_close(layer(x), expected)


def test_adaptformer_starts_as_the_backbone(vit: nn.Module, images: torch.Tensor) -> None:
    model = get_peft_model(copy.deepcopy(vit), copy.deepcopy(CONFIGS["adaptformer"])).eval()
    torch.testing.assert_close(model(images), vit.eval()(images))


def test_ssf_folds(vit: nn.Module, images: torch.Tensor) -> None:
    model = adapted(vit, "ssf")
    expected = model(images)
    model.merge_adapter(safe_merge=True)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
    model.unmerge_adapter()
    torch.testing.assert_close(model(images), expected, rtol=0, atol=0)
    plain = model.merge_and_unload(safe_merge=True)
    assert not any("ssf" in name for name, _ in plain.named_parameters())
    torch.testing.assert_close(plain(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vpt-deep", "adaptformer"])
def test_what_is_not_linear_isnt_folded(vit: nn.Module, name: str) -> None:
    with pytest.raises(UserError, match="can't be folded into the backbone"):
        adapted(vit, name).merge_and_unload()


@pytest.mark.parametrize("config", [VptConfig(), AdaptFormerConfig()])
def test_a_model_without_blocks(config: MethodConfig) -> None:
    with pytest.raises(UserError, match="can't be put on"):
        get_peft_model(nn.Sequential(nn.Linear(4, 4)), config)

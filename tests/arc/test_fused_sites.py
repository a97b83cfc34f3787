"""Where a site runs as one operation, and where it must not."""

import pytest
import timm
import torch
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.arc.fused import computed_again, is_plain_norm
from arcvit.arc.layer import ArcLayer

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}


@pytest.fixture
def model():
    torch.manual_seed(0)
    backbone = timm.create_model("vit_tiny_patch16_224", num_classes=3, **TINY)
    return get_peft_model(backbone, ArcConfig(r=4, coefficients_init="xavier"))


def _site(model):
    return next(module for module in model.modules() if isinstance(module, ArcLayer))


def _is_fused(site):
    return computed_again(site(torch.randn(2, 5, 16, requires_grad=True))) is not None


def _hook(site):
    site.base_layer.register_forward_hook(lambda *_: None)


def _own_forward(site):
    site.base_layer.forward = nn.LayerNorm(16).forward


def _fast_norm(site):
    site.base_layer._fast_norm = True


def _another_class(site):
    site.base_layer = timm.layers.norm.LayerNormFp32(16)


def test_a_site_on_a_plain_norm_is_fused(model):
    assert all(_is_fused(m) for m in model.modules() if isinstance(m, ArcLayer))


@pytest.mark.parametrize("change", [_hook, _own_forward, _fast_norm, _another_class])
def test_a_norm_that_is_watched_or_changed_is_called(model, change):
    site = _site(model)
    change(site)
    assert not is_plain_norm(site.base_layer)
    assert not _is_fused(site)


def test_hooks_see_the_norm_and_the_result_is_the_same(model):
    site, x = _site(model), torch.randn(2, 5, 16)
    model.eval()
    expected, seen = site(x), []
    site.base_layer.register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    torch.testing.assert_close(site(x), expected)
    assert len(seen) == 1


def test_two_active_adapters_disabled_ones_and_folded_ones_are_not_fused(model):
    site = _site(model)
    with model.disable_adapter():
        assert not _is_fused(site)
    model.merge_adapter()
    assert not _is_fused(site)
    model.unmerge_adapter()
    model.add_adapter("other", ArcConfig(r=2))
    model.base_model.set_adapter(["default", "other"])
    assert not _is_fused(site)
    model.set_adapter("other")
    assert _is_fused(site)


def test_function_transforms_take_the_plain_equations(model):
    model.eval()
    site, x = _site(model), torch.randn(2, 5, 16)

    def total(x):
        return site(x).square().sum()

    leaf = x.clone().requires_grad_()
    total(leaf).backward()
    torch.testing.assert_close(torch.func.grad(total)(x), leaf.grad)


@pytest.mark.slow
def test_compiled_gradients_equal_eager_ones(model):
    model.eval()
    images = torch.randn(2, 3, 16, 16)
    gradients = []
    for run in (model, torch.compile(model, backend="aot_eager")):
        run(images).square().sum().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
        model.zero_grad()
    torch.testing.assert_close(gradients[0], gradients[1])

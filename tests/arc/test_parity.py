"""Our ARC on a timm ViT against an independent reference of the authors' ViT, in float64."""

import copy
import importlib.util
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from peft import get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

from arcvit import ArcConfig
from arcvit.arc import fused
from arcvit.arc.layer import ArcLayer
from arcvit.backbones.official import convert_official
from arcvit.core.errors import UserError

_spec = importlib.util.spec_from_file_location(
    "arc_reference", Path(__file__).with_name("reference.py")
)
assert _spec is not None and _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

TOLERANCE = 1e-10


def _vit():
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=32, depth=3, num_heads=4,
        mlp_ratio=2, num_classes=5,
    )  # fmt: skip


def _pair(variant: str, dropout: float = 0.0):
    """The reference and our model with the same weights, both in float64."""
    theirs = reference.ReferenceViT(ffn=variant == "arc", dropout=dropout).double()
    reference.randomise(theirs, seed=1)
    state = {
        key: value
        for key, value in theirs.state_dict().items()
        if variant == "arc" or "mlp_adapter" not in key
    }
    converted = convert_official(state, heads=4)
    model = _vit().double()
    head = {f"head.{kind}": weights for kind, weights in converted.head.items()}
    model.load_state_dict({**converted.backbone, **head})
    config = ArcConfig(r=converted.r, variant=variant, arc_dropout=dropout)
    ours = get_peft_model(model, config).double()
    outcome = set_peft_model_state_dict(ours, converted.adapter)
    assert not outcome.unexpected_keys
    return theirs, ours


@pytest.mark.parametrize("variant", ["arc", "arc_att"])
def test_outputs_and_all_adapter_gradients_equal_the_reference(variant):
    theirs, ours = _pair(variant)
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3])

    expected, found = theirs(images), ours(images)
    assert (expected - found).abs().max() <= TOLERANCE
    torch.nn.functional.cross_entropy(expected, labels).backward()
    torch.nn.functional.cross_entropy(found, labels).backward()

    gradients = {
        name.removeprefix("base_model.model.").removesuffix(".default"): p.grad
        for name, p in ours.named_parameters()
        if p.requires_grad
    }
    compared = 0
    for role, site in (("att", "norm1"), ("mlp", "norm2"))[: 2 if variant == "arc" else 1]:
        down = getattr(theirs.transformer, f"{role}_down_projection").grad
        assert (gradients.pop(f"blocks.0.{site}.arc_projection") - down).abs().max() <= TOLERANCE
        for index, block in enumerate(theirs.transformer.layer):
            adapter = getattr(block, f"{role}_adapter")
            ours_c = gradients.pop(f"blocks.{index}.{site}.arc_coefficients")
            ours_b = gradients.pop(f"blocks.{index}.{site}.arc_bias")
            assert (ours_c - adapter.adapter_rescale.grad.flatten()).abs().max() <= TOLERANCE
            assert (ours_b - adapter.adapter_bias.grad).abs().max() <= TOLERANCE
            compared += 2
    assert not gradients, "a gradient of ours has no counterpart"
    assert compared == (12 if variant == "arc" else 6)


def test_the_dropout_mask_sits_in_the_bottleneck_after_the_re_scaling(monkeypatch):
    # Drawn as nn.Dropout draws it, so that one seed gives both the same mask.
    monkeypatch.setattr(
        fused,
        "drawn",
        lambda u, p: F.pad(torch.empty(len(u), u.shape[1] - 1).bernoulli_(1 - p), (0, 1)),
    )
    theirs, ours = _pair("arc", dropout=0.4)
    theirs.train()
    ours.train()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.manual_seed(7)
    expected = theirs(images)
    torch.manual_seed(7)
    found = ours(images)
    assert (expected - found).abs().max() <= TOLERANCE
    with torch.no_grad():
        assert (ours.eval()(images) - found).abs().max() > 1e-4, "dropout did nothing"


def test_initial_values_are_those_of_the_paper():
    torch.manual_seed(0)
    model = get_peft_model(timm.create_model("vit_tiny_patch16_224", depth=2), ArcConfig(r=50))
    layers = [m for m in model.modules() if isinstance(m, ArcLayer)]
    limit_down = (6 / (192 + 50)) ** 0.5
    limit_coefficients = (6 / (1 + 50)) ** 0.5
    for layer in layers:
        coefficients, bias = layer.arc_coefficients["default"], layer.factors("default").bias
        down = layer.factors("default").down
        assert not bias.any()
        assert down.abs().max() <= limit_down
        assert down.abs().max() > 0.95 * limit_down
        if layer.name.endswith("norm1"):
            assert not coefficients.any()
        else:
            assert 0.8 * limit_coefficients < coefficients.abs().max() <= limit_coefficients


def _official_state() -> dict[str, torch.Tensor]:
    return copy.deepcopy(dict(reference.ReferenceViT().state_dict()))


def _without(key):
    def damage(state):
        del state[key]

    return damage


def _with(key, tensor):
    def damage(state):
        state[key] = tensor

    return damage


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_without("embedding.cls"), "missing: embedding.cls"),
        (_without("transformer.layer.1.attention.key.weight"), "layer.1.attention.key.weight"),
        (_without("transformer.layer.2.att_adapter.adapter_bias"), "layer.2.att_adapter"),
        (_with("extra.weight", torch.zeros(1)), "unexpected: extra.weight"),
        (_with("head_mlp.head.weight", torch.zeros(5, 31)), "wrong shape: head_mlp.head.weight"),
        (_with("transformer.mlp_down_projection", torch.zeros(32, 5)), "mlp_down_projection"),
        (
            _without("transformer.mlp_down_projection"),
            "unexpected: transformer.layer.0.mlp_adapter",
        ),
        (_without("transformer.att_down_projection"), "not an ARC checkpoint"),
    ],
)
def test_an_official_checkpoint_that_does_not_fit_is_refused_by_name(damage, named):
    state = _official_state()
    damage(state)
    with pytest.raises(UserError, match=named.replace(".", r"\.")):
        convert_official(state)


def test_every_key_of_an_official_checkpoint_arrives_bit_exact():
    state = _official_state()
    converted = convert_official(state, heads=4)
    ours = {**converted.backbone, **converted.head, **converted.adapter}
    assert sum(v.numel() for v in ours.values()) == sum(v.numel() for v in state.values())
    adapted = get_peft_model(_vit(), ArcConfig(r=6))
    assert set(get_peft_model_state_dict(adapted)) == set(converted.adapter)

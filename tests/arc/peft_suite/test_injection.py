"""Wrapping a model: attributes, names, targets, and what is refused."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from arcvit import ArcConfig, ArcLayer
from arcvit.core.errors import UserError


def _sites(model):
    return [layer.name for layer in model.modules() if isinstance(layer, ArcLayer)]


def test_peft_model_has_its_usual_attributes(one):
    model = one.fresh()
    for attribute in ("save_pretrained", "from_pretrained", "push_to_hub"):
        assert hasattr(model, attribute)
    assert model.prefix == "arc_"
    assert model.active_peft_config.peft_type == "ARC"


def test_adapter_name_is_in_its_parameters(one):
    model = one.fresh("test-adapter")
    assert any(name.endswith(".test-adapter") for name, _ in model.named_parameters())
    assert model.active_adapters == ["test-adapter"]


def test_sites_expose_what_the_wrapped_layer_has(few, layers):
    for layer in layers(few.fresh()):
        base = layer.get_base_layer()
        assert layer.weight is base.weight
        assert layer.bias is base.bias
        if isinstance(base, nn.Linear):
            assert layer.in_features == base.in_features
            assert layer.out_features == base.out_features
        else:
            assert layer.normalized_shape == base.normalized_shape


def test_repr_names_the_layer_and_the_adapter(few, layers):
    printed = repr(layers(few.fresh())[0])
    assert printed.startswith("arc.ArcLinear" if few.backbone == "mlp" else "arc.ArcLayer")
    assert "base_layer" in printed and "default" in printed


def test_outputs_are_finite_and_keep_their_shape(few, run):
    outputs = run(few.wrapped(), few.x)
    assert outputs.shape == run(few.base(), few.x).shape
    assert torch.isfinite(outputs).all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"target_modules": ["lin0"]}, ["lin0"]),
        ({"target_modules": {"lin0", "lin1"}}, ["lin0", "lin1"]),
        ({"target_modules": "lin1"}, ["lin1"]),
        ({"target_modules": r".*\d"}, ["lin0", "lin1"]),
        ({"target_modules": "all-linear"}, ["lin0", "lin1"]),
        ({"target_modules": "all-linear", "exclude_modules": ["lin1"]}, ["lin0"]),
        ({"target_modules": r"lin\d", "exclude_modules": r".*0"}, ["lin1"]),
        ({"target_modules": ["lin0"], "modules_to_save": ["lin1"]}, ["lin0"]),
    ],
)
def test_targets_of_the_mlp(mlp, settings, expected):
    model = get_peft_model(mlp(), ArcConfig(r=2, **settings))
    assert _sites(model) == expected
    assert model.targeted_module_names == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["blocks.0.norm1", "blocks.0.norm2", "blocks.1.norm1", "blocks.1.norm2"]),
        ({"variant": "arc_ffn"}, ["blocks.0.norm2", "blocks.1.norm2"]),
        ({"layers_to_transform": 1}, ["blocks.1.norm1", "blocks.1.norm2"]),
        (
            {"layers_to_transform": [0], "layers_pattern": "blocks"},
            ["blocks.0.norm1", "blocks.0.norm2"],
        ),
        ({"target_modules": ["fc1"], "layers_to_transform": [1]}, ["blocks.1.mlp.fc1"]),
        ({"exclude_modules": ["norm1"]}, ["blocks.0.norm2", "blocks.1.norm2"]),
        ({"exclude_modules": r"blocks\.0\..*"}, ["blocks.1.norm1", "blocks.1.norm2"]),
        ({"target_modules": ["blocks.1.norm1"]}, ["blocks.1.norm1"]),
    ],
)
def test_targets_of_the_vit(vit, settings, expected):
    assert _sites(get_peft_model(vit(), ArcConfig(r=2, **settings))) == expected


def test_all_linear_leaves_saved_modules_and_the_output_of_a_classifier_alone(vit):
    config = ArcConfig(r=2, target_modules="all-linear", modules_to_save=["head"])
    sites = _sites(get_peft_model(vit(), config))
    assert "head" not in sites
    assert {name.rpartition(".")[2] for name in sites} == {"qkv", "proj", "fc1", "fc2"}


def test_rank_pattern_gives_sites_their_own_rank_and_projection(vit, layers, run):
    config = ArcConfig(r=4, rank_pattern={r"blocks\.0\.norm1": 2, "norm2": 3})
    model = get_peft_model(vit(), config)
    assert [layer.r["default"] for layer in layers(model)] == [2, 3, 4, 3]
    shapes = [tuple(layer.factors("default").down.shape) for layer in layers(model)]
    assert shapes == [(32, 2), (32, 3), (32, 4), (32, 3)]


def test_rank_pattern_that_matches_nothing_warns(vit):
    with pytest.warns(RuntimeWarning, match="rank_pattern keys did not match"):
        get_peft_model(vit(), ArcConfig(r=4, rank_pattern={"norm7": 2}))


def test_exclude_modules_that_match_nothing_warn(vit):
    with pytest.warns(UserWarning, match="no modules were excluded"):
        get_peft_model(vit(), ArcConfig(r=4, exclude_modules=["norm7"]))


class _Other(nn.Module):
    """Layers an adapter can't go to."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(5, 8)
        self.conv1d = nn.Conv1d(8, 8, 1)
        self.conv2d = nn.Conv2d(3, 8, 3)
        self.mha = nn.MultiheadAttention(8, 2)
        self.lin = nn.Linear(8, 2)


@pytest.mark.parametrize("target", ["emb", "conv1d", "conv2d", "mha"])
def test_layers_that_cannot_be_adapted_are_named(target):
    kind = type(getattr(_Other(), target)).__name__
    with pytest.raises(UserError, match=rf"'{target}' \({kind}\) can't carry an adapter"):
        get_peft_model(_Other(), ArcConfig(r=2, target_modules=[target]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ["lin7"]}, "lin7"),
        ({"target_modules": r"lin0", "exclude_modules": ["lin0"]}, "No modules were targeted"),
        ({"target_modules": ["lin0"], "modules_to_save": ["lin0"]}, "No modules were targeted"),
        ({}, "Mlp is not a known family"),
        ({"target_modules": ["lin0"], "r": 11}, "r=11 is larger than the width 10 of 'lin0'"),
        ({"target_modules": ["lin0"], "projection": "nobody"}, "loaded: none"),
    ],
)
def test_what_cannot_be_injected_leaves_the_model_as_it_was(mlp, run, settings, message):
    model, x = mlp(), torch.randn(3, 10)
    names, before = [name for name, _ in model.named_modules()], run(model, x)
    with pytest.raises(ValueError, match=message):
        get_peft_model(model, ArcConfig(**({"r": 2} | settings)))
    assert [name for name, _ in model.named_modules()] == names
    assert torch.equal(run(model, x), before)
    run(get_peft_model(model, ArcConfig(r=2, target_modules=["lin0", "lin1"])), x)


def test_injection_that_fails_half_way_leaves_no_trace(mlp, run):
    model, x = mlp(), torch.randn(3, 10)
    names = [name for name, _ in model.named_modules()]
    config = ArcConfig(r=10, target_modules=["lin0", "lin1"], rank_pattern={"lin1": 21})
    with pytest.raises(UserError, match="r=21"):
        get_peft_model(model, config)
    assert [name for name, _ in model.named_modules()] == names
    assert not any(isinstance(module, BaseTunerLayer) for module in model.modules())
    wrapped = get_peft_model(model, ArcConfig(r=10, target_modules=["lin0", "lin1"]))
    assert _sites(wrapped) == ["lin0", "lin1"]
    assert run(wrapped, x).shape == (3, 2)


def test_other_kinds_of_adapters_cannot_join(few):
    model = few.fresh()
    target = "lin0" if few.backbone == "mlp" else "qkv"
    with pytest.raises(ValueError, match="different peft types"):
        model.add_adapter("other", LoraConfig(target_modules=[target]))
    assert set(model.peft_config) == {"default"}


def test_mixed_models_of_peft_refuse_it_by_name(mlp):
    with pytest.raises(ValueError, match="ARC"):
        get_peft_model(mlp(), ArcConfig(r=2, target_modules=["lin0"]), mixed=True)


def test_base_modules_named_like_the_adapter_are_not_taken_for_it(run):
    torch.manual_seed(0)
    base = nn.Sequential()
    base.add_module("arc_lin0", nn.Linear(6, 6))
    base.add_module("arc_lin1", nn.Linear(6, 3))
    model = get_peft_model(base, ArcConfig(r=2, target_modules=["arc_lin0"]))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(name.endswith(".default") for name in trained)
    model.add_adapter("other", ArcConfig(r=2, target_modules=["arc_lin0"]))
    run(model, torch.randn(2, 6))

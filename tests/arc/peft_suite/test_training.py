"""Training: what changes, gradients through shared projections, checkpointing, compilation."""

import copy

import pytest
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from arcvit import ArcConfig


def _train(model, x, steps=3, lr=0.1, parameters=None):
    optimizer = torch.optim.SGD(parameters or model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


def _gradients(model, x):
    model.zero_grad()
    model(x).square().mean().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def _close(one, other, tolerance=1e-5):
    return one.keys() == other.keys() and all(
        torch.allclose(one[name], other[name], atol=tolerance, rtol=1e-4) for name in one
    )


def test_training_changes_the_adapter_and_nothing_else(case, own):
    model = case.fresh().train()
    before = copy.deepcopy(dict(model.named_parameters()))
    _train(model, case.x, lr=0.5)
    after, learned = dict(model.named_parameters()), set(own(model))
    assert before.keys() == after.keys()
    for name, parameter in before.items():
        assert torch.equal(parameter, after[name]) is (name not in learned), name


def test_only_the_chosen_adapter_is_trained(few, own):
    model = few.wrapped("default", "other").train()
    model.set_adapter("other")
    before = {name: p.detach().clone() for name, p in own(model).items()}
    changed = {name: p.detach().clone() for name, p in own(model, "other").items()}
    _train(model, few.x, lr=0.5)
    assert all(torch.equal(p, before[name]) for name, p in own(model).items())
    assert not any(torch.equal(p, changed[name]) for name, p in own(model, "other").items())


def test_a_trained_adapter_is_disabled_and_enabled(few, run):
    model = few.fresh().train()
    _train(model, few.x)
    trained = run(model.eval(), few.x)
    with model.disable_adapter():
        assert torch.equal(run(model, few.x), run(few.base(), few.x))
    assert torch.equal(run(model, few.x), trained)


def test_dropout_acts_in_training_alone(cases, run):
    for name in ("mlp", "vit"):
        case = cases[name]
        model = case.wrapped(arc_dropout=0.9)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        assert torch.equal(run(model.eval(), case.x), run(model, case.x))
        assert not torch.equal(run(model.train(), case.x), run(model, case.x))
        plain = case.wrapped(arc_dropout=0.0)
        assert torch.equal(run(plain, case.x), run(model.eval(), case.x))


@pytest.mark.parametrize("name", ["vit", "vit-share-all", "vit-att", "vit-separate"])
def test_a_shared_projection_gets_the_gradients_of_all_its_sites(cases, layers, name):
    case = cases[name]
    shared = case.wrapped(arc_dropout=0.0)
    alone = case.wrapped(arc_dropout=0.0, share="none")
    with torch.no_grad():
        for one, other in zip(layers(alone), layers(shared), strict=True):
            one.arc_projection["default"].copy_(other.factors("default").down)
            if one.arc_up:
                one.arc_up["default"].copy_(other.factors("default").up)
            one.arc_coefficients["default"].copy_(other.arc_coefficients["default"])
            if one.arc_bias:
                one.arc_bias["default"].copy_(other.arc_bias["default"])
    assert torch.allclose(alone(case.x), shared(case.x), atol=1e-5)
    for model in (shared, alone):
        model(case.x).square().sum().backward()
    for part in ("arc_projection", "arc_up"):
        sums = {}
        for one, other in zip(layers(alone), layers(shared), strict=True):
            if "default" in getattr(one, part):
                holder = getattr(other.projection_holder["default"][0], part)["default"]
                sums.setdefault(holder, []).append(getattr(one, part)["default"].grad)
        for parameter, parts in sums.items():
            expected = torch.stack(parts).sum(0)
            assert len(parts) == 1 or expected.abs().max() > 0
            assert torch.allclose(parameter.grad, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("built", ["before", "after"])
def test_an_optimizer_sees_each_projection_once_whenever_it_is_built(cases, built, layers):
    case = cases["vit"]
    model = case.fresh().train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.add_adapter("other", case.config())
    if built == "after":
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    known = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len({id(p) for p in known}) == len(known) == 2 + 4 + 4
    before = [layer.factors("default").down.detach().clone() for layer in layers(model)]
    model(case.x).square().mean().backward()
    optimizer.step()
    for layer, values in zip(layers(model), before, strict=True):
        assert any(layer.factors("default").down is p for p in known)
        assert not torch.equal(layer.factors("default").down, values)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_gives_the_same_gradients(cases, layers, reentrant, monkeypatch):
    for name, case in cases.items():
        if case.backbone != "vit":
            continue
        model = case.wrapped(arc_dropout=0.0).train()
        x = case.x.requires_grad_()
        expected = _gradients(model, x)
        model.base_model.model.set_grad_checkpointing(True)
        monkeypatch.setattr(
            "timm.models.vision_transformer.checkpoint_seq",
            lambda blocks, x, **kw: torch.utils.checkpoint.checkpoint(
                nn.Sequential(*blocks), x, use_reentrant=reentrant
            ),
        )
        assert _close(expected, _gradients(model, x)), name


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated")
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_of_transformers_gives_the_same_gradients(stir, reentrant):
    from peft import get_peft_model

    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_labels": 5}
    config = ViTConfig(**size, intermediate_size=64, image_size=32, patch_size=8)
    arc = ArcConfig(r=3, arc_dropout=0.0, modules_to_save=["classifier"])
    model = get_peft_model(ViTForImageClassification(config), arc).train()
    stir(model)

    def gradients():
        model.zero_grad()
        model(torch.ones(2, 3, 32, 32)).logits.square().sum().backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}

    expected = gradients()
    model.prepare_model_for_gradient_checkpointing(model)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    if reentrant:
        model.base_model.model.vit.embeddings.register_forward_hook(
            lambda module, args, output: output.requires_grad_(True)
        )
    assert _close(expected, gradients(), 1e-4)


COMPILED = ["mlp-head", "vit-head", "vit-before-norm"]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_without_a_graph_break(cases, name, run):
    case = cases[name]
    model = case.wrapped(arc_dropout=0.0)
    expected, gradients = run(model, case.x), _gradients(model, case.x)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.allclose(run(compiled, case.x), expected, atol=1e-5)
    assert _close(gradients, _gradients(model, case.x))
    model.zero_grad()
    compiled(case.x).square().mean().backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert _close(gradients, found)

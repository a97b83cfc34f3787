"""Deleting adapters: nothing of them stays, and the others are untouched."""

import re

import pytest
import torch
from peft import get_peft_model
from peft.utils.other import AuxiliaryTrainingWrapper

from arcvit import ArcConfig


def _traces(model, name):
    """Where anything is still kept under an adapter's name."""
    found = []
    for path, module in model.named_modules():
        for attribute in dir(module):
            if attribute.startswith("_"):
                continue
            try:
                value = getattr(module, attribute)
            except (AttributeError, KeyError, RuntimeError):
                continue
            if callable(getattr(value, "keys", None)) and name in value:
                found.append(f"{path}.{attribute}")
    return found


@pytest.mark.parametrize("active", [True, False])
def test_an_adapter_is_deleted_without_a_trace(one, run, active):
    model = one.wrapped("default", "other")
    expected = run(model, one.x)
    if active:
        model.set_adapter("other")
        with pytest.warns(UserWarning, match="was active which is now deleted"):
            model.delete_adapter("other")
    else:
        model.delete_adapter("other")
    assert set(model.peft_config) == {"default"}
    assert model.active_adapters == ["default"]
    assert _traces(model, "other") == []
    assert not any("other" in key for key in model.state_dict())
    assert torch.equal(run(model, one.x), expected)


def test_the_last_adapter_can_be_deleted(one, run):
    model = one.wrapped()
    assert _traces(model, "default")
    model.delete_adapter("default")
    assert model.peft_config == {} and model.active_adapters == []
    assert _traces(model, "default") == []
    assert torch.equal(run(model.base_model, one.x), run(one.base(), one.x))
    for module in model.modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            assert module.active_adapters == []


def test_an_unknown_adapter_is_refused(one, run):
    model = one.wrapped()
    before = run(model, one.x)
    with pytest.raises(ValueError, match="Adapter nobody does not exist"):
        model.delete_adapter("nobody")
    assert torch.equal(run(model, one.x), before)


def test_a_folded_adapter_is_refused_until_it_is_unfolded(one, run, layers):
    model = one.wrapped()
    model.merge_adapter()
    before = run(model, one.x)
    message = "Cannot delete adapter(s) ['default'] while they are merged."
    with pytest.raises(ValueError, match=re.escape(message)):
        model.delete_adapter("default")
    assert "default" in model.peft_config
    assert all(layer.merged_adapters == ["default"] for layer in layers(model))
    assert torch.equal(run(model, one.x), before)
    model.unmerge_adapter()
    model.delete_adapter("default")
    assert model.peft_config == {}


def test_only_the_folded_adapter_is_refused(one, run, layers):
    model = one.wrapped("one", "two")
    model.set_adapter("two")
    model.merge_adapter()
    folded = run(model, one.x)
    with pytest.raises(ValueError, match=re.escape("['two']")):
        model.delete_adapter("two")
    model.delete_adapter("one")
    assert all(layer.merged_adapters == ["two"] for layer in layers(model))
    assert torch.equal(run(model, one.x), folded)
    model.unmerge_adapter()
    model.delete_adapter("two")
    assert model.peft_config == {}


@pytest.mark.filterwarnings("ignore:Adapter .* was active")
def test_the_next_adapter_becomes_active(one, run):
    model = one.wrapped("adapter0", "adapter1", "adapter2")
    for deleted, active in (("adapter0", ["adapter1"]), ("adapter2", ["adapter1"])):
        model.delete_adapter(deleted)
        assert model.active_adapters == active
        assert torch.isfinite(run(model, one.x)).all()


@pytest.mark.filterwarnings("ignore:Adapter .* was active")
def test_saved_modules_go_with_their_adapter(mlp, run):
    with_head = {"target_modules": ["lin0"], "modules_to_save": ["lin1"]}
    model = get_peft_model(mlp(), ArcConfig(r=2, **with_head), adapter_name="adapter0")
    model.add_adapter("adapter1", ArcConfig(r=2, target_modules=["lin0"]))
    model.add_adapter("adapter2", ArcConfig(r=2, **with_head))
    head, x = model.base_model.model.lin1, torch.randn(2, 10)
    for deleted, active, saved in (
        ("adapter0", ["adapter1"], {"adapter2"}),
        ("adapter1", ["adapter2"], {"adapter2"}),
    ):
        run(model, x)
        model.delete_adapter(deleted)
        assert model.active_adapters == active
        assert set(head.modules_to_save) == saved
    assert head.active_adapters == ["adapter2"]
    assert head.modules_to_save["adapter2"].weight.requires_grad
    model.delete_adapter("adapter2")
    assert set(head.modules_to_save) == set()


@pytest.mark.filterwarnings("ignore:Adapter .* was active")
def test_a_lender_of_projections_is_deleted_after_its_borrowers(cases, run):
    case = cases["vit"]
    model = case.wrapped("lender")
    model.add_adapter("borrower", case.config(projection="lender"))
    before = run(model, case.x)
    with pytest.raises(ValueError, match="adapter 'lender' holds the projections of 'borrower'"):
        model.delete_adapter("lender")
    assert torch.equal(run(model, case.x), before)
    model.delete_adapter("borrower")
    assert torch.equal(run(model, case.x), before)
    model.delete_adapter("lender")
    assert torch.equal(run(model.base_model, case.x), run(case.base(), case.x))


def test_a_deleted_name_can_be_used_again(one, run, stir):
    model = one.wrapped("default", "other")
    model.delete_adapter("other")
    model.add_adapter("other", one.config(r=1, adapter_bias=False))
    stir(model, "other")
    model.set_adapter("other")
    shapes = {p.shape[-1] for n, p in model.named_parameters() if "arc_coef" in n and "other" in n}
    assert shapes == {1}
    assert not any("arc_bias.other" in name for name, _ in model.named_parameters())
    assert torch.isfinite(run(model, one.x)).all()


def test_unloading_gives_the_backbone_back(headless, run):
    base = headless.wrapped("default", "other").unload()
    assert not hasattr(base, "peft_config")
    assert base.state_dict().keys() == headless.base().state_dict().keys()
    assert torch.equal(run(base, headless.x), run(headless.base(), headless.x))


def test_unloading_keeps_the_head_of_the_active_adapter(cases):
    for name, head in (("mlp-head", "lin1"), ("vit-head", "head")):
        model = cases[name].wrapped("default", "other")
        trained = model.base_model.model.get_submodule(head).modules_to_save["default"]
        base = model.unload()
        assert base.get_submodule(head) is trained
        assert base.state_dict().keys() == cases[name].base().state_dict().keys()


def test_an_unloaded_backbone_can_be_adapted_again(one, run):
    base = one.wrapped().unload()
    model = get_peft_model(base, one.config())
    assert torch.isfinite(run(model, one.x)).all()

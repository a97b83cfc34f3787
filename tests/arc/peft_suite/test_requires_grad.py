"""Which parameters train, after everything that could change it."""

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn

from arcvit import ArcConfig


def _trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.fixture
def two(one, own):
    """Two adapters, the second inactive, and the names of the parameters of each."""
    model = one.wrapped("default", "other")
    return model, set(own(model)), set(own(model, "other"))


def test_exactly_the_adapter_trains(case, own):
    model = case.fresh()
    assert _trainable(model) == set(own(model))
    assert all(".arc_" in name or "modules_to_save" in name for name in _trainable(model))


def test_the_active_adapter_trains_and_no_other(two):
    model, first, second = two
    assert _trainable(model) == first
    model.set_adapter("default")
    assert _trainable(model) == first
    model.set_adapter("other")
    assert _trainable(model) == second
    with model.disable_adapter():
        assert {name for name in _trainable(model) if ".arc_" in name} == set()
    assert _trainable(model) == second


def test_several_active_adapters_all_train(headless, own):
    model = headless.wrapped("default", "other")
    model.base_model.set_adapter(["default", "other"])
    assert _trainable(model) == set(own(model)) | set(own(model, "other"))
    model.base_model.set_adapter(["other"])
    assert _trainable(model) == set(own(model, "other"))


def test_gradients_are_set_by_hand(two):
    model, first, second = two
    model.set_requires_grad("other")
    assert _trainable(model) == first | second
    model.set_requires_grad(["default", "other"], requires_grad=False)
    assert _trainable(model) == set()
    model.set_requires_grad("default")
    assert _trainable(model) == first


def test_chosen_for_inference_nothing_trains(two):
    model, _, second = two
    model.set_adapter("other", inference_mode=True)
    assert _trainable(model) == set()
    model.set_adapter("other")
    assert _trainable(model) == second


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize(("low", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
def test_a_loaded_adapter_trains_only_if_asked(one, tmp_path, own, trainable, low, dtype):
    one.wrapped().save_pretrained(tmp_path)
    options = {"is_trainable": trainable, "low_cpu_mem_usage": low}
    model = PeftModel.from_pretrained(one.base().to(dtype), tmp_path, **options)
    assert _trainable(model) == (set(own(model)) if trainable else set())
    assert model.training is trainable
    assert model.peft_config["default"].inference_mode is not trainable


@pytest.mark.parametrize(("low", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
def test_loading_another_adapter_changes_nothing_for_the_active_one(one, tmp_path, own, low, dtype):
    one.wrapped().save_pretrained(tmp_path)
    model = get_peft_model(one.base().to(dtype), one.config())
    model.load_adapter(tmp_path, "frozen", low_cpu_mem_usage=low)
    assert _trainable(model) == set(own(model))
    model.load_adapter(tmp_path, "learning", is_trainable=True, low_cpu_mem_usage=low)
    assert _trainable(model) == set(own(model)) | set(own(model, "learning"))


@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_inactive_adapter_is_frozen_in_half_precision_too(one, own, dtype, autocast):
    options = {"autocast_adapter_dtype": autocast}
    model = get_peft_model(one.base().to(dtype), one.config(), **options)
    assert _trainable(model) == set(own(model))
    model.add_adapter("other", one.config(), **options)
    assert _trainable(model) == set(own(model))


def test_an_adapter_for_inference_does_not_freeze_the_active_one(one, own):
    model = one.fresh()
    model.add_adapter("other", one.config(inference_mode=True))
    assert _trainable(model) == set(own(model))


def test_adapters_on_different_sites(mlp, own):
    model = get_peft_model(mlp(), ArcConfig(r=2, target_modules=["lin0"]))
    model.add_adapter("other", ArcConfig(r=2, target_modules=["lin1"]))
    assert _trainable(model) == set(own(model))
    model.set_adapter("other")
    assert _trainable(model) == set(own(model, "other"))
    assert all("lin1" in name for name in _trainable(model))
    with model.disable_adapter():
        assert _trainable(model) == set()
    assert _trainable(model) == set(own(model, "other"))


def test_a_module_saved_by_one_adapter_is_frozen_under_another(mlp):
    model = get_peft_model(mlp(), ArcConfig(r=2, target_modules=["lin0"]))
    model.add_adapter("other", ArcConfig(r=2, target_modules=["lin0"], modules_to_save=["lin1"]))
    saved = model.base_model.model.lin1.modules_to_save["other"].weight
    for name, trains in (("default", False), ("other", True), ("default", False)):
        model.set_adapter(name)
        assert saved.requires_grad is trains


def test_the_backbone_stays_frozen_with_its_own_biases(one):
    model = one.wrapped("default", "other")
    for name in ("other", "default"):
        model.set_adapter(name)
        frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
        assert any(n.endswith("bias") for n in frozen)
        assert not any("base_layer" in n or "original_module" in n for n in _trainable(model))


def test_what_the_user_unfroze_stays_so_when_an_adapter_is_added(one):
    model = one.fresh()
    name, parameter = next((n, p) for n, p in model.named_parameters() if "base_layer" in n)
    parameter.requires_grad_(True)
    model.add_adapter("other", one.config())
    assert dict(model.named_parameters())[name].requires_grad


def test_borrowed_projections_are_frozen(cases, own):
    case = cases["vit"]
    model = case.wrapped("lender")
    model.add_adapter("borrower", case.config(projection="lender"))
    model.set_adapter("borrower")
    assert _trainable(model) == set(own(model, "borrower"))
    assert not any("arc_projection" in name for name in _trainable(model))
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count == 4 * (3 + 32)


def test_only_the_trained_modules_hold_gradients(one, own):
    model = one.fresh().train()
    model(one.x).square().sum().backward()
    own_names = set(own(model))
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) is (name in own_names), name


def test_inputs_that_require_gradients_get_them(one):
    x = one.x.requires_grad_()
    one.wrapped()(x).square().sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert isinstance(one.base(), nn.Module)


def test_fixed_projections_stay_fixed_whatever_is_set(one, tmp_path, own):
    model = one.wrapped(core="full", train_projection=False)
    assert _trainable(model) == {n for n in own(model) if "arc_projection" not in n}
    model.save_pretrained(tmp_path)
    model.load_adapter(tmp_path, "again", is_trainable=True)
    for name in ("again", "default"):
        model.set_adapter(name)
        model.base_model.enable_adapter_layers()
        assert _trainable(model) == {n for n in own(model, name) if "arc_projection" not in n}

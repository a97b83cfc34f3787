"""Which adapters act: choosing one, several, none; disabling them for a while."""

import pytest
import torch
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.arc.functional import adapter_update


class _Deep(nn.Module):
    """Three blocks of two linear layers each."""

    def __init__(self):
        super().__init__()
        block = lambda: nn.ModuleDict({"lin0": nn.Linear(8, 8), "lin1": nn.Linear(8, 8)})  # noqa: E731
        self.layers = nn.ModuleList(block() for _ in range(3))

    def forward(self, x):
        for layer in self.layers:
            x = layer["lin1"](layer["lin0"](x).relu())
        return x


def _config(*targets, **changes):
    return ArcConfig(r=2, target_modules=list(targets), **changes)


def test_the_first_adapter_is_active_until_another_is_chosen(headless):
    model = headless.fresh()
    assert (model.active_adapters, model.active_adapter) == (["default"], "default")
    model.add_adapter("other", headless.config())
    assert (model.active_adapters, model.active_adapter) == (["default"], "default")
    model.set_adapter("other")
    assert (model.active_adapters, model.active_adapter) == (["other"], "other")
    model.base_model.set_adapter(["default", "other"])
    assert model.active_adapters == ["default", "other"]
    assert model.base_model.active_adapter == ["default", "other"]


def test_choosing_an_unknown_adapter_is_refused(one, run):
    model = one.wrapped()
    before = run(model, one.x)
    with pytest.raises(ValueError, match="nobody not found"):
        model.set_adapter("nobody")
    assert torch.equal(run(model, one.x), before)


def test_a_taken_name_is_refused_and_changes_nothing(one):
    model = one.wrapped()
    config, state = (
        model.peft_config["default"],
        {k: v.clone() for k, v in model.state_dict().items()},
    )
    with pytest.raises(ValueError, match="already exists"):
        model.add_adapter("default", one.config(r=2))
    assert model.peft_config["default"] is config
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_each_adapter_has_outputs_of_its_own(one, run):
    model = one.wrapped("default", "other")
    first = run(model, one.x)
    model.set_adapter("other")
    assert not torch.allclose(run(model, one.x), first, atol=1e-4)
    model.set_adapter("default")
    assert torch.equal(run(model, one.x), first)


def test_several_active_adapters_add_up(headless, run, layers):
    model = headless.wrapped("one", "two")
    for layer in layers(model):
        x = torch.randn(3, layer.width)
        updates = [adapter_update(x, layer.factors(name)) for name in ("one", "two")]
        expected = x + sum(updates)
        model.base_model.set_adapter(["one", "two"])
        assert torch.allclose(layer.adapt(x), expected, atol=1e-5)
    both = run(model, headless.x)
    for name in ("one", "two"):
        model.set_adapter(name)
        assert not torch.allclose(run(model, headless.x), both, atol=1e-5)


def test_the_order_of_active_adapters_does_not_matter(headless, run):
    model = headless.wrapped("one", "two")
    model.base_model.set_adapter(["one", "two"])
    expected = run(model, headless.x)
    model.base_model.set_adapter(["two", "one"])
    assert torch.allclose(run(model, headless.x), expected, atol=1e-5)


def test_adapters_with_the_same_saved_module_cannot_be_active_together(cases):
    for name in ("mlp-head", "vit-head"):
        model = cases[name].wrapped("one", "two")
        with pytest.raises(ValueError, match="Only one adapter can be set at a time"):
            model.base_model.set_adapter(["one", "two"])


def test_adapters_with_different_saved_modules_can_be_active_together(run):
    model = get_peft_model(_Deep(), _config("layers.0.lin0", modules_to_save=["layers.0.lin1"]))
    model.add_adapter("other", _config("layers.0.lin0", modules_to_save=["layers.1.lin1"]))
    model.base_model.set_adapter(["default", "other"])
    deep = model.base_model.model.layers
    assert deep[0]["lin1"].active_adapters == ["default"]
    assert deep[1]["lin1"].active_adapters == ["other"]
    assert torch.isfinite(run(model, torch.randn(2, 8))).all()


@pytest.mark.parametrize("via", ["model", "tuner"])
def test_adapters_on_different_sites_are_switched_everywhere(via, run):
    model = get_peft_model(_Deep(), _config("layers.0.lin0", "layers.1.lin0"))
    model.add_adapter("other", _config("layers.1.lin0", "layers.2.lin0"))
    model.eval()
    x = torch.randn(2, 8)
    outputs = {}
    for name in ("default", "other", "default"):
        (model if via == "model" else model.base_model).set_adapter(name)
        sites = [layer["lin0"] for layer in model.base_model.model.layers]
        assert [site.active_adapters for site in sites] == [[name]] * 3
        assert torch.equal(outputs.setdefault(name, run(model, x)), run(model, x))


def test_an_adapter_with_a_head_and_one_without_are_switched(mlp, run):
    x = torch.randn(3, 10)
    for first, second in (({"modules_to_save": ["lin1"]}, {}), ({}, {"modules_to_save": ["lin1"]})):
        model = get_peft_model(mlp(), _config("lin0", **first))
        model.add_adapter("other", _config("lin0", **second))
        holders = {name for name, s in zip(("default", "other"), (first, second), strict=True) if s}
        assert set(model.base_model.model.lin1.modules_to_save) == holders
        for name in ("default", "other", "default"):
            model.set_adapter(name)
            assert model.base_model.model.lin1.active_adapters == [name] * (name in holders)
            run(model, x)


def test_disabled_the_backbone_runs_alone(case, run):
    base, model = run(case.base(), case.x), case.wrapped()
    adapted = run(model, case.x)
    assert not torch.allclose(adapted, base, atol=1e-4)
    with model.disable_adapter():
        assert torch.equal(run(model, case.x), base)
    assert torch.equal(run(model, case.x), adapted)


def test_disabling_is_undone_after_an_exception(one, run):
    model = one.wrapped()
    adapted = run(model, one.x)
    with pytest.raises(KeyError), model.disable_adapter():
        raise KeyError
    assert torch.equal(run(model, one.x), adapted)
    assert model.get_model_status().enabled is True


def test_disabling_nests(one, layers):
    model = one.wrapped()
    assert model.has_active_enabled_adapter
    with model.disable_adapter():
        with model.disable_adapter():
            pass
        assert all(layer.disable_adapters for layer in layers(model))
        assert not model.has_active_enabled_adapter
    assert not any(layer.disable_adapters for layer in layers(model))
    assert model.has_active_enabled_adapter


def test_what_was_disabled_before_stays_disabled(one, layers):
    model = one.wrapped()
    model.disable_adapter_layers()
    with model.disable_adapter():
        pass
    assert all(layer.disable_adapters for layer in layers(model))
    model.enable_adapter_layers()
    assert not any(layer.disable_adapters for layer in layers(model))


def test_a_mixed_state_warns_and_ends_enabled(one, layers):
    model = one.wrapped()
    layers(model)[0].enable_adapters(False)
    message = "some adapter layers that are enabled"
    with pytest.warns(UserWarning, match=message), model.disable_adapter():
        pass
    assert not any(layer.disable_adapters for layer in layers(model))


def test_of_several_adapters_one_may_train_biases_of_the_backbone(one):
    model = one.wrapped(bias="arc_only")
    with pytest.warns(UserWarning, match="Careful, disabling"), model.disable_adapter():
        pass
    model.add_adapter("other", one.config())
    with pytest.raises(ValueError, match="only 1 adapter with bias"):
        model.add_adapter("third", one.config(bias="all"))

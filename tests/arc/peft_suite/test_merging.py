"""Folding one adapter into the backbone, and taking it out again."""

import copy
import pickle

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}


def _weights(model):
    return {n: p.detach().clone() for n, p in model.named_parameters() if ".arc_" not in n}


def _same(before, after):
    return before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("safe", [False, True])
def test_folded_unfolded_and_unloaded_give_the_same_outputs(foldable, run, safe):
    model = foldable.wrapped()
    expected, weights = run(model, foldable.x), _weights(model)
    model.merge_adapter(safe_merge=safe)
    assert torch.allclose(run(model, foldable.x), expected, **TOLERANCE)
    assert not torch.allclose(expected, run(foldable.base(), foldable.x), atol=1e-3)
    model.unmerge_adapter()
    assert torch.equal(run(model, foldable.x), expected)
    assert _same(weights, _weights(model))
    base = model.merge_and_unload(safe_merge=safe)
    assert torch.allclose(run(base, foldable.x), expected, **TOLERANCE)


def test_nothing_of_peft_is_left_after_unloading(one, run, tmp_path):
    base = one.wrapped().merge_and_unload()
    assert not any(isinstance(module, BaseTunerLayer) for module in base.modules())
    assert not hasattr(base, "peft_config")
    assert base.state_dict().keys() == one.base().state_dict().keys()
    save_file(base.state_dict(), tmp_path / "model.safetensors")
    copied = pickle.loads(pickle.dumps(base))
    assert torch.equal(run(copied, one.x), run(base, one.x))


def test_a_folded_state_fits_the_plain_backbone(one, run):
    model = one.wrapped()
    expected = run(model, one.x)
    plain = one.base()
    plain.load_state_dict(model.merge_and_unload().state_dict())
    assert torch.allclose(run(plain, one.x), expected, **TOLERANCE)


def test_folding_has_no_part_in_training(one):
    model = one.wrapped(arc_dropout=0.5).train()
    one, two = copy.deepcopy(model), copy.deepcopy(model)
    one.merge_adapter()
    two.merge_adapter()
    assert _same(_weights(one), _weights(two))


def test_folding_twice_changes_nothing_and_warns_as_in_peft(one, run):
    model = one.wrapped()
    with pytest.warns(UserWarning, match="Already unmerged"):
        model.unmerge_adapter()
    model.merge_adapter()
    before = run(model, one.x)
    with pytest.warns(UserWarning, match="All adapters are already merged, nothing to do"):
        model.merge_adapter()
    assert torch.equal(run(model, one.x), before)
    with pytest.warns(UserWarning, match="All adapters are already merged, nothing to do"):
        base = model.merge_and_unload()
    assert torch.allclose(run(base, one.x), before, **TOLERANCE)


@pytest.mark.parametrize("names", [["nobody"], ["default", "nobody"]])
def test_unknown_adapters_are_refused(one, run, names):
    model = one.wrapped()
    before, weights = run(model, one.x), _weights(model)
    for fold in (model.merge_adapter, lambda n: model.merge_and_unload(adapter_names=n)):
        with pytest.raises(ValueError, match="'nobody': expected default"):
            fold(names)
    assert _same(weights, _weights(model))
    assert torch.equal(run(model, one.x), before)


def test_a_single_name_in_place_of_a_list_is_refused(one, run):
    model = one.wrapped()
    before = run(model, one.x)
    with pytest.raises(TypeError, match="should be a list of strings"):
        model.merge_adapter("default")
    assert torch.equal(run(model, one.x), before)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("arc_projection", float("nan")),
        ("arc_coefficients", float("inf")),
        ("arc_bias", float("nan")),
    ],
)
def test_a_broken_adapter_is_not_folded_safely(one, run, own, part, value):
    model = one.wrapped()
    broken = [p for name, p in own(model).items() if part in name]
    healthy = [parameter.detach().clone() for parameter in broken]
    expected, weights = run(model, one.x), _weights(model)
    with torch.no_grad():
        broken[-1].view(-1)[0] = value
    for fold in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(ValueError, match="gives NaN or infinity"):
            fold(safe_merge=True)
        assert _same(weights, _weights(model))
        assert model.get_model_status().merged_adapters == []
    with torch.no_grad():
        for parameter, values in zip(broken, healthy, strict=True):
            parameter.copy_(values)
    assert torch.equal(run(model, one.x), expected)


def test_a_broken_adapter_leaves_a_single_layer_unchanged(one, layers, own):
    model = one.wrapped()
    with torch.no_grad():
        for name, parameter in own(model).items():
            parameter.fill_(float("nan") if ".arc_" in name else 0.0)
    weights = _weights(model)
    for layer in layers(model):
        with pytest.raises(ValueError, match="gives NaN or infinity"):
            layer.merge(safe_merge=True)
        assert not layer.merged
    assert _same(weights, _weights(model))


def test_an_infinite_bias_of_the_backbone_is_not_folded_safely(cases):
    model = cases["mlp"].wrapped()
    layer = model.base_model.model.lin0
    with torch.no_grad():
        layer.base_layer.bias[0] = float("inf")
    weight = layer.base_layer.weight.detach().clone()
    with pytest.raises(ValueError, match="gives NaN or infinity"):
        model.merge_adapter(safe_merge=True)
    assert torch.equal(layer.base_layer.weight, weight) and not layer.merged


def test_a_layer_without_a_bias_gets_one_and_loses_it_again(mlp, stir, run):
    from peft import get_peft_model

    from arcvit import ArcConfig

    model = get_peft_model(mlp(bias=False), ArcConfig(r=2, target_modules=["lin0", "lin1"])).eval()
    stir(model)
    x = torch.randn(4, 10)
    expected = run(model, x)
    model.merge_adapter()
    assert model.base_model.model.lin0.base_layer.bias is not None
    assert torch.allclose(run(model, x), expected, **TOLERANCE)
    model.unmerge_adapter()
    assert model.base_model.model.lin0.base_layer.bias is None
    assert torch.equal(run(model, x), expected)


def test_disabled_while_folded_the_backbone_runs_alone(few, run):
    model = few.wrapped()
    expected = run(model, few.x)
    model.merge_adapter()
    with model.disable_adapter():
        disabled = run(model, few.x)
    assert torch.equal(disabled, run(few.base(), few.x))
    assert torch.equal(run(model, few.x), expected)


def test_choosing_another_adapter_while_folded_unfolds_first(one, run):
    model = one.wrapped("default", "other")
    model.set_adapter("other")
    expected = run(model, one.x)
    model.set_adapter("default")
    model.merge_adapter()
    with pytest.warns(UserWarning, match="Unmerging the model first"):
        model.set_adapter("other")
    assert torch.equal(run(model, one.x), expected)


def test_adding_an_adapter_while_folded_unfolds_first(one, run):
    model = one.wrapped()
    expected = run(model, one.x)
    model.merge_adapter()
    with pytest.warns(UserWarning, match="Unmerging the model first"):
        model.add_adapter("other", one.config())
    assert torch.equal(run(model, one.x), expected)


def test_saving_while_folded_saves_the_adapter_alone(one, run, tmp_path):
    from peft import PeftModel

    model = one.wrapped()
    expected = run(model, one.x)
    model.merge_adapter()
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(one.base(), tmp_path)
    assert torch.equal(run(loaded, one.x), expected)


def test_before_the_norm_nothing_is_folded(cases, run):
    case = cases["vit-before-norm"]
    model = case.wrapped()
    expected = run(model, case.x)
    for fold in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(ValueError, match="placement='before_norm'"):
            fold()
    assert torch.equal(run(model, case.x), expected)
    assert torch.equal(run(model.unload(), case.x), run(case.base(), case.x))

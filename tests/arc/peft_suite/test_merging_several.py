"""Folding one adapter among several, and several at once."""

import copy

import pytest
import torch
from peft import get_peft_model

from arcvit import ArcConfig

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}
MORE = "ignore:Already following adapters were merged"


def test_one_of_several_is_folded(few, run):
    model = few.wrapped("one", "two")
    outputs = {}
    for name in ("one", "two"):
        model.set_adapter(name)
        outputs[name] = run(model, few.x)
    model.set_adapter("one")
    for name in ("one", "two"):
        folded = copy.deepcopy(model)
        folded.merge_adapter([name])
        if "modules_to_save" not in few.settings:
            assert torch.allclose(run(folded, few.x), outputs[name], **TOLERANCE)
        folded.unmerge_adapter()
        assert torch.equal(run(folded, few.x), outputs["one"])


def test_unloading_with_one_or_all_of_several(headless, run):
    model = headless.wrapped("one", "two")
    outputs = {}
    for name in ("one", "two"):
        model.set_adapter(name)
        outputs[name] = run(model, headless.x)
    for name, expected in outputs.items():
        base = copy.deepcopy(model).merge_and_unload(adapter_names=[name])
        assert torch.allclose(run(base, headless.x), expected, **TOLERANCE)
    both = copy.deepcopy(model).merge_and_unload(adapter_names=["two", "one"])
    for expected in outputs.values():
        assert not torch.allclose(run(both, headless.x), expected, atol=1e-3)
    model.base_model.set_adapter(["one", "two"])
    assert torch.allclose(run(both, headless.x), run(model, headless.x), **TOLERANCE)


def test_all_active_adapters_are_folded_together(headless, run, layers):
    model = headless.wrapped("one", "two", "three")
    model.base_model.set_adapter(["one", "two", "three"])
    expected = run(model, headless.x)
    model.merge_adapter()
    assert all(layer.merged_adapters == ["one", "two", "three"] for layer in layers(model))
    assert torch.allclose(run(model, headless.x), expected, **TOLERANCE)
    model.unmerge_adapter()
    assert torch.equal(run(model, headless.x), expected)


@pytest.mark.filterwarnings(MORE)
def test_one_after_the_other_equals_both_at_once(headless, run):
    together = headless.wrapped("one", "two")
    base = run(headless.base(), headless.x)
    after = copy.deepcopy(together)
    together.merge_adapter(["one", "two"])
    after.merge_adapter(["one"])
    after.merge_adapter(["two"])
    assert torch.allclose(run(after, headless.x), run(together, headless.x), **TOLERANCE)
    after.unmerge_adapter()
    with after.disable_adapter():
        assert torch.equal(run(after, headless.x), base)


def test_folding_a_further_adapter_warns_as_in_peft(headless):
    model = headless.wrapped("one", "two")
    model.merge_adapter(["one"])
    with pytest.warns(UserWarning, match="Already following adapters were merged one"):
        model.merge_adapter(["two"])


@pytest.mark.filterwarnings(MORE)
@pytest.mark.parametrize("folded_before", [False, True])
def test_a_broken_second_adapter_leaves_what_was_folded(headless, run, own, folded_before, layers):
    model = headless.wrapped("one", "two")
    with torch.no_grad():
        for name, parameter in own(model, "two").items():
            if "arc_coef" in name:
                parameter.fill_(float("nan"))
    if folded_before:
        model.merge_adapter(["one"])
    before = run(model, headless.x)
    names = ["two"] if folded_before else ["one", "two"]
    with pytest.raises(ValueError, match=r"adapter 'two' at .* gives NaN or infinity"):
        model.merge_adapter(names, safe_merge=True)
    expected = ["one"] if folded_before else []
    assert all(layer.merged_adapters == expected for layer in layers(model))
    assert torch.equal(run(model, headless.x), before)


def test_adapters_on_different_sites_are_folded(mlp, run, stir):
    model = get_peft_model(mlp(), ArcConfig(r=2, target_modules=["lin0"]), adapter_name="one")
    model.add_adapter("two", ArcConfig(r=3, target_modules=["lin0", "lin1"]))
    stir(model, "one", 1)
    stir(model, "two", 2)
    model.eval()
    x = torch.randn(4, 10)
    for active in (["one"], ["two"], ["one", "two"]):
        model.base_model.set_adapter(active)
        expected = run(model, x)
        model.merge_adapter()
        assert torch.allclose(run(model, x), expected, **TOLERANCE)
        assert model.base_model.model.lin1.merged is ("two" in active)
        model.unmerge_adapter()
        assert torch.equal(run(model, x), expected)


def test_adapters_of_different_kinds_are_folded_together(cases, run, stir):
    case = cases["vit"]
    model = case.wrapped("one")
    kinds = [
        {"r": 5, "up_projection": "separate"},
        {"variant": "arc_att", "adapter_bias": False},
        {"share": "none"},
        {"projection": "one"},
    ]
    for index, kind in enumerate(kinds):
        model.add_adapter(f"kind{index}", case.config(**kind))
        stir(model, f"kind{index}", 10 + index)
    model.eval()
    model.base_model.set_adapter(["one", *(f"kind{index}" for index in range(len(kinds)))])
    expected = run(model, case.x)
    model.merge_adapter(safe_merge=True)
    assert torch.allclose(run(model, case.x), expected, **TOLERANCE)
    model.unmerge_adapter()
    assert torch.equal(run(model, case.x), expected)

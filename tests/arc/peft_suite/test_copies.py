"""Copies, pickles, devices: what they keep, and that sharing survives them."""

import copy
import pickle

import pytest
import torch
from peft import PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict


def _shared(model, layers, name="default"):
    """Which sites share a projection: the index of the first of each site's group."""
    downs = [layer.factors(name).down for layer in layers(model)]
    return [next(i for i, other in enumerate(downs) if other is down) for down in downs]


@pytest.mark.parametrize("way", ["copy", "pickle", "save"])
def test_copies_give_the_same_outputs_and_share_alike(case, run, layers, way, tmp_path):
    model = case.wrapped("default", "other")
    if way == "copy":
        copied = copy.deepcopy(model)
    elif way == "pickle":
        copied = pickle.loads(pickle.dumps(model))
    else:
        torch.save(model, tmp_path / "model.pt")
        copied = torch.load(tmp_path / "model.pt", weights_only=False)
    assert torch.equal(run(copied, case.x), run(model, case.x))
    for name in ("default", "other"):
        assert _shared(copied, layers, name) == _shared(model, layers, name)
    mine = {p.data_ptr() for p in model.parameters()}
    assert not any(p.data_ptr() in mine for p in copied.parameters())


def test_a_copy_is_changed_without_the_original(case, run, stir, layers):
    model = case.wrapped("default", "other")
    expected = run(model, case.x)
    copied = copy.deepcopy(model)
    stir(copied, seed=9)
    if case.foldable:
        copied.merge_adapter()
    assert not torch.allclose(run(copied, case.x), expected, atol=1e-4)
    assert torch.equal(run(model, case.x), expected)
    assert not any(layer.merged for layer in layers(model))


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_made_while_folded_unfolds_itself(foldable, run, way):
    model = foldable.wrapped()
    expected = run(model, foldable.x)
    model.merge_adapter()
    folded = run(model, foldable.x)
    copied = way(model)
    copied.unmerge_adapter()
    assert torch.equal(run(copied, foldable.x), expected)
    assert torch.equal(run(model, foldable.x), folded)
    model.unmerge_adapter()
    assert torch.equal(run(model, foldable.x), expected)


def test_a_copy_is_trained_on_its_own(case, layers):
    model = case.fresh().train()
    copied = copy.deepcopy(model)
    before = [layer.factors("default").down.detach().clone() for layer in layers(model)]
    optimizer = torch.optim.SGD([p for p in copied.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        copied(case.x).square().mean().backward()
        optimizer.step()
    for layer, other, values in zip(layers(model), layers(copied), before, strict=True):
        assert torch.equal(layer.factors("default").down, values)
        assert not torch.equal(other.factors("default").down, values)


def test_a_meta_backbone_gets_a_meta_adapter(case):
    model = get_peft_model(case.base().to("meta"), case.config())
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert model(case.x.to("meta")).device.type == "meta"


def test_a_backbone_built_on_meta_is_filled_from_files(case, run, tmp_path):
    source = case.wrapped()
    source.save_pretrained(tmp_path)
    weights = case.base().state_dict()
    with torch.device("meta"):
        base = case.base()
    model = get_peft_model(base, case.config())
    model.get_base_model()
    state = {key: value.clone() for key, value in source.state_dict().items()}
    model.load_state_dict(state, assign=True)
    if not any(buffer.device.type == "meta" for buffer in model.buffers()):
        assert torch.equal(run(model.eval(), case.x), run(source, case.x))
    assert len(weights) <= len(state)


def test_moved_to_meta_and_back_nothing_shared_is_split(case, layers):
    model = case.wrapped("default", "other")
    groups = _shared(model, layers)
    model.to("meta")
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert _shared(model, layers) == groups
    model.to_empty(device="cpu")
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert _shared(model, layers) == groups


def test_an_adapter_added_to_a_model_on_another_device_follows_it(few, layers):
    model = few.wrapped().to("meta")
    model.add_adapter("other", few.config(), low_cpu_mem_usage=True)
    assert {p.device.type for p in model.parameters()} == {"meta"}


def test_the_state_dict_of_the_whole_model_can_be_loaded(case, run, stir):
    model, other = case.wrapped("default", "other"), case.wrapped("default", "other")
    stir(other, seed=8)
    expected = run(model, case.x)
    assert not torch.equal(run(other, case.x), expected)
    other.load_state_dict(model.state_dict())
    assert torch.equal(run(other, case.x), expected)


def test_the_base_model_is_the_one_that_was_wrapped(case):
    base = case.base()
    model = get_peft_model(base, case.config())
    assert model.get_base_model() is base
    assert isinstance(model, PeftModel)
    assert get_peft_model_state_dict(model)

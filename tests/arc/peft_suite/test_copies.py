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


def test_a_copy_is_changed_without_the_original(one, run, stir, layers):
    model = one.wrapped("default", "other")
    expected = run(model, one.x)
    copied = copy.deepcopy(model)
    stir(copied, seed=9)
    if one.foldable:
        copied.merge_adapter()
    assert not torch.allclose(run(copied, one.x), expected, atol=1e-4)
    assert torch.equal(run(model, one.x), expected)
    assert not any(layer.merged for layer in layers(model))


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_made_while_folded_unfolds_itself(one, run, way):
    model = one.wrapped()
    expected = run(model, one.x)
    model.merge_adapter()
    folded = run(model, one.x)
    copied = way(model)
    copied.unmerge_adapter()
    assert torch.equal(run(copied, one.x), expected)
    assert torch.equal(run(model, one.x), folded)
    model.unmerge_adapter()
    assert torch.equal(run(model, one.x), expected)


def test_a_copy_is_trained_on_its_own(one, layers):
    model = one.fresh().train()
    copied = copy.deepcopy(model)
    before = [layer.factors("default").down.detach().clone() for layer in layers(model)]
    optimizer = torch.optim.SGD([p for p in copied.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        copied(one.x).square().mean().backward()
        optimizer.step()
    for layer, other, values in zip(layers(model), layers(copied), before, strict=True):
        assert torch.equal(layer.factors("default").down, values)
        assert not torch.equal(other.factors("default").down, values)


def test_a_meta_backbone_gets_a_meta_adapter(one):
    model = get_peft_model(one.base().to("meta"), one.config())
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert model(one.x.to("meta")).device.type == "meta"


def test_a_backbone_built_on_meta_is_filled_from_files(one, run, tmp_path):
    source = one.wrapped()
    source.save_pretrained(tmp_path)
    weights = one.base().state_dict()
    with torch.device("meta"):
        base = one.base()
    model = get_peft_model(base, one.config())
    model.get_base_model()
    state = {key: value.clone() for key, value in source.state_dict().items()}
    model.load_state_dict(state, assign=True)
    if not any(buffer.device.type == "meta" for buffer in model.buffers()):
        assert torch.equal(run(model.eval(), one.x), run(source, one.x))
    assert len(weights) <= len(state)


def test_moved_to_meta_and_back_nothing_shared_is_split(one, layers):
    model = one.wrapped("default", "other")
    groups = _shared(model, layers)
    model.to("meta")
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert _shared(model, layers) == groups
    model.to_empty(device="cpu")
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert _shared(model, layers) == groups


def test_an_adapter_added_to_a_model_on_another_device_follows_it(one, layers):
    model = one.wrapped().to("meta")
    model.add_adapter("other", one.config(), low_cpu_mem_usage=True)
    assert {p.device.type for p in model.parameters()} == {"meta"}


def test_the_state_dict_of_the_whole_model_can_be_loaded(one, run, stir):
    model, other = one.wrapped("default", "other"), one.wrapped("default", "other")
    stir(other, seed=8)
    expected = run(model, one.x)
    assert not torch.equal(run(other, one.x), expected)
    other.load_state_dict(model.state_dict())
    assert torch.equal(run(other, one.x), expected)


def test_the_base_model_is_the_one_that_was_wrapped(one):
    base = one.base()
    model = get_peft_model(base, one.config())
    assert model.get_base_model() is base
    assert isinstance(model, PeftModel)
    assert get_peft_model_state_dict(model)

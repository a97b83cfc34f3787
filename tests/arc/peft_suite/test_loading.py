"""Loading saved adapters into other instances, onto other names, without spare memory."""

import pytest
import torch
from peft import PeftModel, get_peft_model
from peft.utils import hotswap

from arcvit import ArcConfig


@pytest.fixture
def saved(one, tmp_path):
    """A trained adapter on disk, and the outputs it gives."""
    model = one.wrapped()
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        return tmp_path, model(one.x)


def test_another_instance_gives_the_same_outputs(one, saved, run):
    path, expected = saved
    torch.manual_seed(54321)
    loaded = PeftModel.from_pretrained(one.base(), path)
    assert not loaded.training
    assert torch.equal(run(loaded, one.x), expected)
    assert not torch.allclose(run(one.base(), one.x), expected, atol=1e-4)


def test_any_adapter_name_will_do(one, saved, run):
    path, expected = saved
    loaded = PeftModel.from_pretrained(one.base(), path, adapter_name="other")
    assert loaded.active_adapters == ["other"]
    assert torch.equal(run(loaded, one.x), expected)


def test_several_adapters_are_loaded_and_chosen_among(one, saved, run, stir):
    path, expected = saved
    model = PeftModel.from_pretrained(one.base(), path)
    for name in ("other", "yet-another"):
        assert model.load_adapter(path, name).missing_keys == []
    stir(model, "other", seed=5)
    assert torch.equal(run(model, one.x), expected)
    model.set_adapter("other")
    assert not torch.allclose(run(model, one.x), expected, atol=1e-4)
    model.set_adapter("yet-another")
    assert torch.equal(run(model, one.x), expected)


def test_loading_onto_an_existing_name_replaces_its_weights(one, saved, run, stir):
    path, expected = saved
    model = one.wrapped()
    stir(model, seed=3)
    assert not torch.allclose(run(model, one.x), expected, atol=1e-4)
    result = model.load_adapter(path, "default")
    assert result.missing_keys == [] and result.unexpected_keys == []
    assert torch.equal(run(model, one.x), expected)


@pytest.mark.parametrize("low", [False, True])
def test_without_spare_memory_all_ends_up_on_the_device(one, saved, run, low, own):
    path, expected = saved
    model = PeftModel.from_pretrained(one.base(), path, low_cpu_mem_usage=low)
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    result = model.load_adapter(path, "other", low_cpu_mem_usage=low)
    assert result.missing_keys == []
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert torch.equal(run(model, one.x), expected)
    model.set_adapter("other")
    assert torch.equal(run(model, one.x), expected)


def test_added_without_memory_the_adapter_is_on_the_meta_device(one, own):
    model = one.wrapped()
    model.add_adapter("other", one.config(), low_cpu_mem_usage=True)
    arc = [p for name, p in own(model, "other").items() if ".arc_" in name]
    assert {p.device.type for p in arc} == {"meta"}
    assert {p.device.type for p in own(model).values()} == {"cpu"}


def test_device_map_is_accepted(one, tmp_path, run):
    model = one.wrapped()
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(one.base(), tmp_path, device_map={"": "cpu"})
    assert torch.equal(run(loaded, one.x), run(model, one.x))


def test_two_heads_of_different_sizes_are_loaded(vit, tmp_path, run):
    for count in (3, 7):
        config = ArcConfig(r=2, modules_to_save=["head"], num_classes=count)
        get_peft_model(vit(), config).save_pretrained(tmp_path / str(count))
    model = PeftModel.from_pretrained(vit(), tmp_path / "3", adapter_name="three")
    model.load_adapter(tmp_path / "7", "seven", low_cpu_mem_usage=True)
    x = torch.randn(2, 3, 32, 32)
    assert run(model, x).shape == (2, 3)
    model.set_adapter("seven")
    assert run(model, x).shape == (2, 7)


def test_hot_swapping_is_refused_by_name(one, tmp_path):
    model = one.wrapped()
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="ARC was passed"):
        hotswap.hotswap_adapter(model, str(tmp_path), "default")


def test_an_adapter_trained_further_is_saved_and_loaded(one, tmp_path):
    model = one.fresh().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(one.x).square().mean().backward()
        optimizer.step()
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(one.base(), tmp_path)
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)

"""What save_pretrained writes."""

import re

import pytest
import torch
import yaml
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file


def _projections(keys):
    return [key for key in keys if key.endswith((".arc_projection", ".arc_up"))]


@pytest.mark.parametrize("safe", [True, False])
def test_a_saved_adapter_is_loaded_bit_for_bit(every, tmp_path, safe, run):
    model = every.wrapped()
    model.save_pretrained(tmp_path, safe_serialization=safe)
    weights = "adapter_model.safetensors" if safe else "adapter_model.bin"
    assert {path.name for path in tmp_path.iterdir()} == {
        "README.md",
        "adapter_config.json",
        weights,
    }
    loaded = PeftModel.from_pretrained(every.base(), tmp_path)
    expected, found = model.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert torch.equal(run(loaded, every.x), run(model, every.x))


def test_only_the_adapter_is_saved_and_each_projection_once(every, tmp_path, layers):
    model = every.wrapped()
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    heads = [f"base_model.model.{name}." for name in every.settings.get("modules_to_save", [])]
    assert all(".arc_" in key or key.startswith(tuple(heads)) for key in saved)
    sites = layers(model)
    distinct = {id(layer.factors("default").down) for layer in sites}
    distinct |= {id(p) for layer in sites for p in layer.arc_up.values()}
    assert len(_projections(saved)) == len(distinct)
    assert sum(key.endswith(".arc_coefficients") for key in saved) == len(sites)
    learned = [p for p in model.parameters() if p.requires_grad]
    assert sum(value.numel() for value in saved.values()) == sum(p.numel() for p in learned)


@pytest.mark.parametrize(
    ("name", "projections"),
    [("vit", 2), ("vit-att", 1), ("vit-share-all", 1), ("vit-share-none", 4), ("vit-separate", 4)],
)
def test_shared_projections_of_the_vit(cases, name, projections):
    saved = get_peft_model_state_dict(cases[name].wrapped())
    assert len(_projections(saved)) == projections


def test_selected_adapters_are_saved_alone(one, tmp_path):
    model = one.wrapped("default", "other")
    model.save_pretrained(tmp_path / "both")
    assert (tmp_path / "both" / "other" / "adapter_model.safetensors").exists()
    model.save_pretrained(tmp_path / "one", selected_adapters=["other"])
    assert not (tmp_path / "one" / "adapter_model.safetensors").exists()
    loaded = PeftModel.from_pretrained(one.base(), tmp_path / "one" / "other")
    mine = get_peft_model_state_dict(model, adapter_name="other")
    theirs = get_peft_model_state_dict(loaded)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_unknown_selected_adapter_is_refused(one, tmp_path):
    with pytest.raises(ValueError, match="selected_adapters"):
        one.wrapped().save_pretrained(tmp_path, selected_adapters=["nobody"])


def test_names_that_contain_one_another_are_not_mixed_up(one, tmp_path):
    model = one.wrapped("default", "default2", "other_default", "foodefault_bar", "efaul")
    for name in model.peft_config:
        saved = get_peft_model_state_dict(model, adapter_name=name)
        alone = get_peft_model_state_dict(one.wrapped())
        assert saved.keys() == alone.keys()
    model.save_pretrained(tmp_path, selected_adapters=["default"])
    assert load_file(tmp_path / "adapter_model.safetensors").keys() == alone.keys()


def test_saving_leaves_the_model_as_it_was(one, tmp_path, run):
    model = one.wrapped().train()
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    model.save_pretrained(tmp_path)
    assert {name: p.requires_grad for name, p in model.named_parameters()} == flags
    assert model.peft_config["default"].inference_mode is False
    assert model.training


def test_model_card_names_library_base_model_and_version(one, tmp_path):
    model = one.wrapped()
    model.base_model.model.config = {"model_type": "custom", "_name_or_path": "org/backbone"}
    model.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    facts = yaml.safe_load(re.search(r"---\n(.*?)\n---", card, re.DOTALL).group(1))
    assert facts["library_name"] == "peft"
    assert facts["base_model"] == "org/backbone"
    assert "- PEFT " in card


def test_model_card_of_a_model_without_a_name_has_no_base_model(one, tmp_path):
    one.wrapped().save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "base_model:" not in card.split("---")[1]


def test_an_existing_model_card_is_kept(one, tmp_path):
    (tmp_path / "README.md").write_text("---\nmeta: hello\n---\nWritten by hand\n")
    one.wrapped().save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert "library_name: peft" in card and "meta: hello" in card and "Written by hand" in card

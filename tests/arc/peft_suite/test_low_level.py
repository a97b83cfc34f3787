"""PEFT's low-level functions, and its look into a model."""

import pytest
import torch
from peft import (
    PeftModel,
    TaskType,
    get_base_model_state_dict,
    get_layer_status,
    get_model_status,
    get_peft_model,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_base_model_state_dict,
    set_peft_model_state_dict,
)
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import ViTConfig, ViTForImageClassification

from arcvit import ArcConfig


def test_injected_the_model_stays_what_it_is(few, run, stir, layers):
    base = few.base()
    model = inject_adapter_in_model(few.config(), base)
    assert model is base and not isinstance(model, PeftModel)
    assert layers(model)
    stir(model)
    assert not torch.allclose(run(model, few.x), run(few.base(), few.x), atol=1e-4)


def test_the_state_of_an_injected_adapter_is_set_on_another(one, run, stir):
    model = inject_adapter_in_model(one.config(), one.base()).eval()
    stir(model)
    state = get_peft_model_state_dict(model)
    assert not any(key.startswith("base_model") for key in state)
    other = inject_adapter_in_model(one.config(), one.base()).eval()
    result = set_peft_model_state_dict(other, state)
    assert result.unexpected_keys == []
    assert torch.equal(run(other, one.x), run(model, one.x))


def test_a_saved_adapter_is_set_on_an_injected_model(one, run):
    model = one.wrapped()
    other = inject_adapter_in_model(one.config(), one.base()).eval()
    state = {
        key if "modules_to_save" not in one.settings or ".arc_" in key else key[17:]: value
        for key, value in get_peft_model_state_dict(model).items()
    }
    set_peft_model_state_dict(other, state)
    assert torch.equal(run(other, one.x), run(model, one.x))


def test_injected_without_memory_and_filled(one, run, stir):
    source = inject_adapter_in_model(one.config(), one.base()).eval()
    stir(source)
    state = get_peft_model_state_dict(source)
    model = inject_adapter_in_model(one.config(), one.base(), low_cpu_mem_usage=True).eval()
    assert "meta" in {p.device.type for p in model.parameters()}
    set_peft_model_state_dict(model, state, low_cpu_mem_usage=True)
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert torch.equal(run(model, one.x), run(source, one.x))


def test_sites_are_read_from_a_state(every, recwarn, layers):
    model = inject_adapter_in_model(every.config(), every.base())
    state = {k: v for k, v in get_peft_model_state_dict(model).items() if ".arc_" in k}
    recwarn.clear()
    other = inject_adapter_in_model(every.config(), every.base(), state_dict=state)
    assert not recwarn.list
    found = {k: v for k, v in get_peft_model_state_dict(other).items() if ".arc_" in k}
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in state.items()}


def test_a_state_with_fewer_sites_than_the_config_warns(cases, layers):
    case = cases["vit"]
    state = get_peft_model_state_dict(inject_adapter_in_model(case.config(), case.base()))
    state = {key: value for key, value in state.items() if "blocks.1.norm1" not in key}
    with pytest.warns(RuntimeWarning, match=r"additional target modules: \['blocks.1.norm1'\]"):
        model = inject_adapter_in_model(case.config(), case.base(), state_dict=state)
    assert len(layers(model)) == 3


def test_the_state_of_the_backbone_is_read_and_set(one, run):
    original = one.base().state_dict()
    model = one.wrapped()
    found = get_base_model_state_dict(model)
    assert found.keys() == original.keys()
    assert all(torch.equal(found[key], value) for key, value in original.items())
    with torch.no_grad():
        for parameter in model.get_base_model().parameters():
            parameter.add_(0.1)
    result = set_base_model_state_dict(model, original)
    assert not result.missing_keys and not result.unexpected_keys
    with model.disable_adapter():
        assert torch.equal(run(model, one.x), run(one.base(), one.x))


def test_status_of_layers_and_model(one, layers, own):
    model = one.wrapped("default", "other")
    status = model.get_model_status()
    assert status == get_model_status(model)
    assert status.base_model_type == type(one.base()).__name__
    assert status.adapter_model_type == "ArcModel"
    assert status.peft_types == {"default": "ARC", "other": "ARC"}
    assert status.trainable_params == sum(p.numel() for p in own(model).values())
    assert status.total_params == sum(p.numel() for p in model.parameters())
    heads = len(one.settings.get("modules_to_save", []))
    assert status.num_adapter_layers == len(layers(model)) + heads
    assert status.enabled is True
    assert status.active_adapters == ["default"]
    assert status.merged_adapters == []
    assert status.requires_grad == {"default": True, "other": False}
    assert status.available_adapters == ["default", "other"]
    assert status.devices == {"default": ["cpu"], "other": ["cpu"]}
    assert model.get_layer_status() == get_layer_status(model)
    names = {layer.name for layer in model.get_layer_status()}
    assert {f"model.{layer.name}" for layer in layers(model)} <= names


def test_status_follows_what_is_done(headless):
    model = headless.wrapped("default", "other")
    model.set_adapter("other")
    assert model.get_model_status().active_adapters == ["other"]
    assert model.get_model_status().requires_grad == {"default": False, "other": True}
    model.set_requires_grad(["default", "other"])
    assert model.get_model_status().requires_grad == {"default": True, "other": True}
    with model.disable_adapter():
        assert model.get_model_status().enabled is False
    if headless.foldable:
        model.merge_adapter(["other", "default"])
        assert model.get_model_status().merged_adapters == ["default", "other"]
        model.unmerge_adapter()
        assert model.get_model_status().merged_adapters == []


def test_status_calls_a_mixed_state_irregular(cases, layers):
    model = cases["vit"].wrapped()
    layers(model)[0].enable_adapters(False)
    assert model.get_model_status().enabled == "irregular"
    layers(model)[0].enable_adapters(True)
    layers(model)[0].merge()
    assert model.get_model_status().merged_adapters == "irregular"
    layers(model)[0].unmerge()
    layers(model)[1].arc_bias["default"].requires_grad_(False)
    assert model.get_model_status().requires_grad == {"default": "irregular"}


def test_trainable_parameters_are_counted(one, own, capsys):
    model = one.wrapped()
    trainable, total = model.get_nb_trainable_parameters()
    assert trainable == sum(p.numel() for p in own(model).values())
    assert total == sum(p.numel() for p in model.parameters())
    model.print_trainable_parameters()
    assert f"trainable params: {trainable:,}" in capsys.readouterr().out


def _hf_vit():
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_labels": 5}
    return ViTForImageClassification(
        ViTConfig(**size, intermediate_size=64, image_size=32, patch_size=8)
    ).eval()


def test_a_transformers_model_goes_all_the_way(tmp_path, run, stir):
    x = torch.randn(2, 3, 32, 32)
    model = get_peft_model(_hf_vit(), ArcConfig(r=3, modules_to_save=["classifier"])).eval()
    stir(model)
    expected = run(model, x).logits
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(_hf_vit(), tmp_path, low_cpu_mem_usage=True)
    assert torch.equal(run(loaded, x).logits, expected)
    base = loaded.merge_and_unload(safe_merge=True)
    assert torch.allclose(run(base, x).logits, expected, atol=1e-4)
    base.save_pretrained(tmp_path / "folded")
    plain = ViTForImageClassification.from_pretrained(tmp_path / "folded").eval()
    assert torch.allclose(run(plain, x).logits, expected, atol=1e-4)


def test_the_adapter_methods_of_transformers_load_and_train_it(tmp_path, run, stir):
    x = torch.randn(2, 3, 32, 32)
    model = get_peft_model(_hf_vit(), ArcConfig(r=3)).eval()
    stir(model)
    expected = run(model, x).logits
    inner = model.base_model.model
    names = {n for n, m in inner.named_modules() if isinstance(m, BaseTunerLayer)}
    assert names == {f"vit.layers.{i}.layernorm_{w}" for i in (0, 1) for w in ("before", "after")}
    assert torch.equal(run(inner, x).logits, expected)


@pytest.mark.parametrize("task", [TaskType.SEQ_CLS, TaskType.FEATURE_EXTRACTION])
def test_task_types_keep_the_adapter_and_save_the_classifier(task, tmp_path, stir):
    model = get_peft_model(_hf_vit(), ArcConfig(r=3, task_type=task))
    stir(model)
    model.save_pretrained(tmp_path)
    saved = get_peft_model_state_dict(model)
    assert any("classifier" in key for key in saved) is (task == TaskType.SEQ_CLS)
    loaded = PeftModel.from_pretrained(_hf_vit(), tmp_path)
    found = get_peft_model_state_dict(loaded)
    assert found.keys() == saved.keys()
    assert all(torch.equal(found[key], value) for key, value in saved.items())

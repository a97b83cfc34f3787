"""The configuration: what it refuses, and how it is saved and read."""

import copy
import json
import pickle

import pytest
from peft import PeftConfig, PeftModel, get_peft_config, get_peft_model

from arcvit import ArcConfig
from arcvit.core.errors import UserError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 0}, "r=0 is not a bottleneck width"),
        ({"r": -1}, "r=-1"),
        ({"r": 2.0}, "r=2.0"),
        ({"r": True}, "r=True"),
        ({"rank_pattern": {"norm1": 0}}, "norm1=0"),
        ({"arc_dropout": 1.0}, "0 <= arc_dropout < 1"),
        ({"arc_dropout": -0.1}, "0 <= arc_dropout < 1"),
        ({"bias": "arc"}, "expected one of none, all, arc_only"),
        ({"variant": "arc-att"}, "Did you mean 'arc_att'"),
        ({"share": "roles"}, "Did you mean 'role'"),
        ({"up_projection": "seperate"}, "Did you mean 'separate'"),
        ({"coefficients_init": "zero"}, "Did you mean 'zeros'"),
        ({"placement": "norm"}, "after_norm"),
        ({"ffn_placement": "resid"}, "residual"),
        ({"layers_pattern": "blocks"}, "layers_to_transform"),
        ({"target_modules": r"lin\d", "layers_to_transform": [0]}, "layers_to_transform"),
        ({"target_modules": r"lin\d", "layers_pattern": ["blocks"]}, "layers_to_transform"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, message):
    with pytest.raises(UserError, match=message):
        ArcConfig(**settings)


def test_config_survives_saving_in_every_case(one, tmp_path):
    config = one.config(num_classes=2)
    config.save_pretrained(tmp_path)
    assert ArcConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()
    assert PeftConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()
    assert type(PeftConfig.from_pretrained(tmp_path)) is ArcConfig


def test_saved_config_is_plain_json_and_names_the_type(one, tmp_path):
    one.fresh().save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    assert saved["peft_type"] == "ARC"
    assert saved["r"] == one.settings["r"]
    assert saved["inference_mode"] is True


def test_config_is_made_from_its_dictionary(one):
    config = one.config()
    assert get_peft_config(config.to_dict()).to_dict() == config.to_dict()


def test_config_survives_copying_and_pickling(one):
    config = one.config()
    assert copy.deepcopy(config) == config
    assert pickle.loads(pickle.dumps(config)) == config


def test_unknown_keys_of_a_later_version_are_ignored_with_a_warning(tmp_path):
    ArcConfig(r=3).save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "from_the_future": 1}))
    with pytest.warns(UserWarning, match="from_the_future"):
        assert ArcConfig.from_pretrained(tmp_path).r == 3


def test_missing_keys_of_an_earlier_version_take_their_defaults(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "ARC", "r": 3}))
    config = PeftConfig.from_pretrained(tmp_path)
    assert (config.r, config.variant, config.share) == (3, "arc", "role")


def test_config_passed_to_from_pretrained_is_used_itself(one, tmp_path):
    model = one.wrapped()
    model.save_pretrained(tmp_path)
    config = one.config()
    loaded = PeftModel.from_pretrained(one.base(), tmp_path, is_trainable=False, config=config)
    assert loaded.peft_config["default"] is config
    assert config.inference_mode


def test_one_config_object_may_serve_several_adapters(one, run):
    config = one.config()
    model = get_peft_model(one.base(), config)
    model.add_adapter("other", config)
    run(model, one.x)
    assert set(model.peft_config) == {"default", "other"}


def test_the_type_reads_like_a_member_of_the_closed_enum_of_peft():
    kind = ArcConfig(r=2).peft_type
    assert kind == "ARC" and kind.value == "ARC" and str(kind) == "PeftType.ARC"
    assert type(ArcConfig(r=2).to_dict()["peft_type"]) is str

"""Weights that don't fit: an error that names the keys, nothing loaded, the model usable."""

import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from arcvit.core.errors import UserError


def _without(part):
    return lambda state: {key: value for key, value in state.items() if part not in key}


def _changed(part, change):
    return lambda state: {k: change(v) if part in k else v for k, v in state.items()}


def _renamed(part, other):
    return lambda state: {key.replace(part, other): value for key, value in state.items()}


SPOILT = {
    "no projection": (_without("arc_projection"), "missing: .*arc_projection"),
    "no coefficients": (_without("arc_coefficients"), "missing: .*arc_coefficients"),
    "one site short": (_without("blocks.1.norm2"), "missing: .*blocks.1.norm2"),
    "no bias": (_without("arc_bias"), "missing: .*arc_bias"),
    "nothing of it": (_without("arc_"), "missing: "),
    "another rank": (
        _changed("arc_projection", lambda v: torch.cat([v, v], dim=1)),
        r"misshapen: .*arc_projection.*\(32, 6\), expected \(32, 3\)",
    ),
    "coefficients as a row": (_changed("arc_coef", lambda v: v[None]), "misshapen"),
    "another site": (_renamed("norm2", "norm9"), "not of this adapter: .*norm9"),
    "deeper": (_renamed("blocks.1", "blocks.7"), "not of this adapter: .*blocks.7"),
    "NaN": (_changed("arc_coef", lambda v: v * float("nan")), "NaN or infinite: .*arc_coef"),
    "infinite": (_changed("arc_projection", lambda v: v / 0), "NaN or infinite: .*arc_proj"),
}
ANOTHER = {
    "rank": {"r": 5},
    "variant with less": {"variant": "arc_att"},
    "without bias": {"adapter_bias": False},
    "own projections": {"share": "none"},
    "own up-projections": {"up_projection": "separate"},
}


@pytest.fixture(params=list(SPOILT))
def spoilt(request, cases, tmp_path):
    """A spoilt adapter on disk, and what is to be said of it."""
    spoil, message = SPOILT[request.param]
    cases["vit-head"].wrapped().save_pretrained(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    save_file({k: v.contiguous() for k, v in spoil(load_file(path)).items()}, path)
    return tmp_path, message


def test_a_spoilt_file_is_not_loaded(cases, spoilt):
    case, (path, message) = cases["vit-head"], spoilt
    with pytest.raises(UserError, match=f"'default', and none of them were loaded.*{message}"):
        PeftModel.from_pretrained(case.base(), path)


@pytest.mark.parametrize("spoilt", ["one site short", "infinite"], indirect=True)
def test_a_spoilt_second_adapter_leaves_the_first_alone(cases, spoilt, run, tmp_path):
    case, (path, message) = cases["vit-head"], spoilt
    model = case.wrapped()
    before = run(model, case.x)
    with pytest.raises(UserError, match=message):
        model.load_adapter(path, "other")
    assert torch.equal(run(model, case.x), before)
    assert model.active_adapters == ["default"]
    if "other" in model.peft_config:
        model.delete_adapter("other")
    model.save_pretrained(tmp_path / "good")
    model.load_adapter(tmp_path / "good", "other")
    model.set_adapter("other")
    assert torch.equal(run(model, case.x), before)


@pytest.mark.parametrize("other", list(ANOTHER))
def test_weights_of_another_config_are_not_loaded(cases, other, tmp_path, run):
    case = cases["vit"]
    case.wrapped(**ANOTHER[other]).save_pretrained(tmp_path)
    model = case.wrapped()
    before = run(model, case.x)
    with pytest.raises(UserError, match="none of them were loaded"):
        model.load_adapter(tmp_path, "default")
    assert torch.equal(run(model, case.x), before)
    with pytest.raises(UserError, match="config it was saved with"):
        PeftModel.from_pretrained(case.base(), tmp_path, config=case.config())


def test_a_state_for_an_existing_adapter_is_loaded_whole_or_not_at_all(one, run):
    model = one.wrapped()
    before = run(model, one.x)
    state = get_peft_model_state_dict(one.wrapped("one", "two"), adapter_name="two")
    dropped = next(key for key in state if key.endswith(".arc_coefficients"))
    half = {key: value for key, value in state.items() if key != dropped}
    with pytest.raises(UserError, match="missing"):
        set_peft_model_state_dict(model, half)
    assert torch.equal(run(model, one.x), before)
    result = set_peft_model_state_dict(model, state)
    assert result.unexpected_keys == []
    assert not torch.allclose(run(model, one.x), before, atol=1e-4)


def test_projections_alone_may_start_an_adapter(cases):
    case = cases["vit"]
    state = get_peft_model_state_dict(case.wrapped("one", "two"), adapter_name="two")
    projections = {key: value for key, value in state.items() if key.endswith("arc_projection")}
    model = case.wrapped()
    coefficients = {n: p.clone() for n, p in model.named_parameters() if "arc_coef" in n}
    set_peft_model_state_dict(model, projections)
    loaded = get_peft_model_state_dict(model)
    assert all(torch.equal(loaded[key], value) for key, value in projections.items())
    now = dict(model.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in coefficients.items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 2}, "r=2 disagrees with the projection of adapter 'lender'"),
        ({"target_modules": ["qkv"]}, "no projection at 'blocks.0.attn.qkv'"),
        ({"rank_pattern": {"norm2": 1}}, "r=1 disagrees"),
    ],
)
def test_adapters_that_disagree_on_a_shared_projection(cases, settings, message, run):
    case = cases["vit"]
    model = case.wrapped("lender")
    before = run(model, case.x)
    with pytest.raises(ValueError, match=message):
        model.add_adapter("borrower", case.config(projection="lender", **settings))
    assert set(model.peft_config) == {"lender"}
    assert torch.equal(run(model, case.x), before)
    model.add_adapter("borrower", case.config(projection="lender"))
    model.set_adapter("borrower")
    assert torch.isfinite(run(model, case.x)).all()


def test_projections_in_the_file_of_a_borrower_are_refused(cases, tmp_path, run):
    case = cases["vit"]
    case.wrapped("own").save_pretrained(tmp_path)
    model = case.wrapped("lender")
    model.add_adapter("own", case.config(projection="lender"))
    before = run(model, case.x)
    with pytest.raises(UserError, match=r"not of this adapter: .*arc_projection"):
        model.load_adapter(tmp_path / "own", "own")
    assert torch.equal(run(model, case.x), before)

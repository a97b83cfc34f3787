"""A shared projection is one tensor: after everything that makes parameters anew."""

import copy

import pytest
import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

NAMES = ("default", "other")


def _check(model, layers, groups, names=NAMES):
    """Every site uses its holder's parameter itself, and each parameter is registered once."""
    named = [p for _, p in model.named_parameters()]
    every = [p for _, p in model.named_parameters(remove_duplicate=False)]
    assert len(named) == len(every) == len({id(p) for p in named})
    storages = [p.untyped_storage().data_ptr() for p in named if p.device.type != "meta"]
    assert len(storages) == len(set(storages))
    registered = {id(p) for p in named}
    for name in names:
        downs = []
        for layer in layers(model):
            holder, held_for = layer.projection_holder[name]
            assert layer.factors(name).down is holder.arc_projection[held_for]
            assert any(holder is site for site in layers(model))
            assert id(layer.factors(name).down) in registered
            downs.append(layer.factors(name).down)
        assert [next(i for i, d in enumerate(downs) if d is down) for down in downs] == groups
    if len(names) == 2:
        ids = [{id(layer.factors(name).down) for layer in layers(model)} for name in names]
        assert ids[0].isdisjoint(ids[1])


def _groups(model, layers):
    downs = [layer.factors("default").down for layer in layers(model)]
    return [next(i for i, d in enumerate(downs) if d is down) for down in downs]


def _load(model, case, tmp_path, **options):
    source = case.wrapped("default", "other")
    source.save_pretrained(tmp_path)
    model.load_adapter(tmp_path / "other", "other", **options)


def _set(model, case, tmp_path):
    state = get_peft_model_state_dict(case.wrapped("one", "two"), adapter_name="two")
    set_peft_model_state_dict(model, state, adapter_name="other")


def _step(model, case, tmp_path):
    model(case.x).square().mean().backward()
    torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1).step()


def _again(model, case, tmp_path):
    model.delete_adapter("other")
    model.add_adapter("other", case.config())


EVENTS = {
    "nothing": lambda m, c, t: None,
    "half": lambda m, c, t: m.half().float(),
    "double": lambda m, c, t: m.double().float(),
    "share memory": lambda m, c, t: m.share_memory(),
    "switch": lambda m, c, t: m.set_adapter("other") or m.set_adapter("default"),
    "disable": lambda m, c, t: m.disable_adapter_layers() or m.enable_adapter_layers(),
    "load": _load,
    "load without memory": lambda m, c, t: _load(m, c, t, low_cpu_mem_usage=True),
    "set state": _set,
    "train": _step,
    "delete and add": _again,
    "fold": lambda m, c, t: m.merge_adapter() or m.unmerge_adapter(),
}


@pytest.mark.parametrize("event", list(EVENTS))
def test_a_projection_stays_one_tensor(few, layers, event, tmp_path):
    model = few.wrapped(*NAMES)
    groups = _groups(model, layers)
    EVENTS[event](model, few, tmp_path)
    _check(model, layers, groups)


@pytest.mark.parametrize("event", list(EVENTS))
def test_its_gradients_arrive_in_the_parameter_the_optimizer_finds(one, layers, event, tmp_path):
    model = one.wrapped(*NAMES)
    EVENTS[event](model, one, tmp_path)
    for name in NAMES:
        model.set_adapter(name)
        model.zero_grad()
        model(one.x).square().mean().backward()
        assert all(layer.factors(name).down.grad is not None for layer in layers(model))
        learned = {id(p) for p in model.parameters() if p.requires_grad}
        assert all(id(layer.factors(name).down) in learned for layer in layers(model))


@pytest.mark.parametrize("event", [e for e in EVENTS if e not in ("half", "train")])
def test_the_other_adapter_keeps_its_values(one, run, own, event, tmp_path):
    model = one.wrapped(*NAMES)
    expected, values = run(model, one.x), {n: p.clone() for n, p in own(model).items()}
    EVENTS[event](model, one, tmp_path)
    now = own(model)
    assert now.keys() == values.keys()
    assert all(torch.equal(now[name], value) for name, value in values.items())
    assert torch.equal(run(model.eval(), one.x), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_casting_a_new_adapter_leaves_the_first_alone(one, layers, dtype):
    model = one.wrapped().to(dtype)
    first = dict(model.named_parameters())
    groups = _groups(model, layers)
    model.add_adapter("other", one.config(), autocast_adapter_dtype=True)
    now = dict(model.named_parameters())
    assert all(now[name] is parameter for name, parameter in first.items())
    assert {p.dtype for n, p in now.items() if n.endswith(".other") and ".arc_" in n} == {
        torch.float32
    }
    _check(model, layers, groups)


def test_an_adapter_for_each_holds_one_entry_in_its_file(one, layers, tmp_path):
    model = one.wrapped(*NAMES)
    model.save_pretrained(tmp_path)
    distinct = {id(layer.factors("default").down) for layer in layers(model)}
    for path in (tmp_path, tmp_path / "other"):
        saved = load_file(path / "adapter_model.safetensors")
        assert sum(key.endswith("arc_projection") for key in saved) == len(distinct)


def test_equal_values_of_two_adapters_are_not_one_tensor(one, layers, run, tmp_path):
    model = one.wrapped()
    model.save_pretrained(tmp_path)
    model.load_adapter(tmp_path, "other", is_trainable=True)
    _check(model, layers, _groups(model, layers))
    expected = run(model, one.x)
    model.set_adapter("other")
    with torch.no_grad():
        for layer in layers(model):
            layer.factors("other").down.mul_(2)
    model.set_adapter("default")
    assert torch.equal(run(model, one.x), expected)


def test_a_borrowed_projection_is_the_lenders_own(cases, layers):
    for name in ("vit", "vit-share-all", "vit-separate", "mlp"):
        case = cases[name]
        model = case.wrapped("lender")
        groups = [id(layer.factors("lender").down) for layer in layers(model)]
        model.add_adapter("borrower", case.config(projection="lender"))
        for dtype in (torch.float32, torch.float16, torch.float32):
            model.to(dtype)
            for layer in layers(model):
                assert layer.factors("borrower").down is layer.factors("lender").down
                holder, _ = layer.projection_holder["lender"]
                assert layer.factors("borrower").down is holder.arc_projection["lender"]
        assert [id(layer.factors("lender").down) for layer in layers(model)] == groups
        copied = copy.deepcopy(model)
        for layer, other in zip(layers(copied), layers(model), strict=True):
            assert layer.factors("borrower").down is layer.factors("lender").down
            assert layer.factors("borrower").down is not other.factors("lender").down
        assert not any("arc_projection.borrower" in key for key in model.state_dict())


def test_borrowed_projections_follow_the_lenders_training(cases, run, layers):
    case = cases["vit"]
    model = case.wrapped("lender")
    model.add_adapter("borrower", case.config(projection="lender"))
    before = [layer.factors("borrower").down.clone() for layer in layers(model)]
    model.set_adapter("lender")
    _step(model.train(), case, None)
    for layer, values in zip(layers(model), before, strict=True):
        assert not torch.equal(layer.factors("borrower").down, values)
        assert layer.factors("borrower").down is layer.factors("lender").down

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
            assert layer.down(name) is holder.arc_projection[held_for]
            assert any(holder is site for site in layers(model))
            assert id(layer.down(name)) in registered
            downs.append(layer.down(name))
        assert [next(i for i, d in enumerate(downs) if d is down) for down in downs] == groups
    if len(names) == 2:
        ids = [{id(layer.down(name)) for layer in layers(model)} for name in names]
        assert ids[0].isdisjoint(ids[1])


def _groups(model, layers):
    downs = [layer.down("default") for layer in layers(model)]
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


def _merge(model, case, tmp_path):
    if case.foldable:
        model.merge_adapter()
        model.unmerge_adapter()


EVENTS = {
    "nothing": lambda m, c, t: None,
    "half": lambda m, c, t: m.half().float(),
    "bfloat16": lambda m, c, t: m.to(torch.bfloat16).float(),
    "double": lambda m, c, t: m.double().float(),
    "move": lambda m, c, t: m.to("cpu"),
    "share memory": lambda m, c, t: m.share_memory(),
    "switch": lambda m, c, t: m.set_adapter("other") or m.set_adapter("default"),
    "disable": lambda m, c, t: m.disable_adapter_layers() or m.enable_adapter_layers(),
    "load": _load,
    "load without memory": lambda m, c, t: _load(m, c, t, low_cpu_mem_usage=True),
    "set state": _set,
    "train": _step,
    "delete and add": _again,
    "fold": _merge,
    "save": lambda m, c, t: m.save_pretrained(t),
}


@pytest.mark.parametrize("event", list(EVENTS))
def test_a_projection_stays_one_tensor(some, layers, event, tmp_path):
    model = some.wrapped(*NAMES)
    groups = _groups(model, layers)
    EVENTS[event](model, some, tmp_path)
    _check(model, layers, groups)


@pytest.mark.parametrize("event", list(EVENTS))
def test_its_gradients_arrive_in_the_parameter_the_optimizer_finds(some, layers, event, tmp_path):
    model = some.wrapped(*NAMES)
    EVENTS[event](model, some, tmp_path)
    for name in NAMES:
        model.set_adapter(name)
        model.zero_grad()
        model(some.x).square().mean().backward()
        assert all(layer.down(name).grad is not None for layer in layers(model))
        learned = {id(p) for p in model.parameters() if p.requires_grad}
        assert all(id(layer.down(name)) in learned for layer in layers(model))


@pytest.mark.parametrize("event", list(EVENTS))
def test_the_other_adapter_keeps_its_values(some, run, own, event, tmp_path):
    if event in ("half", "bfloat16", "train"):
        return
    model = some.wrapped(*NAMES)
    expected, values = run(model, some.x), {n: p.clone() for n, p in own(model).items()}
    EVENTS[event](model, some, tmp_path)
    now = own(model)
    assert now.keys() == values.keys()
    assert all(torch.equal(now[name], value) for name, value in values.items())
    assert torch.equal(run(model.eval(), some.x), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_casting_a_new_adapter_leaves_the_first_alone(case, layers, dtype):
    model = case.wrapped().to(dtype)
    first = dict(model.named_parameters())
    groups = _groups(model, layers)
    model.add_adapter("other", case.config(), autocast_adapter_dtype=True)
    now = dict(model.named_parameters())
    assert all(now[name] is parameter for name, parameter in first.items())
    assert {p.dtype for n, p in now.items() if n.endswith(".other") and ".arc_" in n} == {
        torch.float32
    }
    _check(model, layers, groups)


def test_an_adapter_for_each_holds_one_entry_in_its_file(case, layers, tmp_path):
    model = case.wrapped(*NAMES)
    model.save_pretrained(tmp_path)
    distinct = {id(layer.down("default")) for layer in layers(model)}
    for path in (tmp_path, tmp_path / "other"):
        saved = load_file(path / "adapter_model.safetensors")
        assert sum(key.endswith("arc_projection") for key in saved) == len(distinct)


def test_equal_values_of_two_adapters_are_not_one_tensor(case, layers, run, tmp_path):
    model = case.wrapped()
    model.save_pretrained(tmp_path)
    model.load_adapter(tmp_path, "other", is_trainable=True)
    _check(model, layers, _groups(model, layers))
    expected = run(model, case.x)
    model.set_adapter("other")
    with torch.no_grad():
        for layer in layers(model):
            layer.down("other").mul_(2)
    model.set_adapter("default")
    assert torch.equal(run(model, case.x), expected)


def test_a_borrowed_projection_is_the_lenders_own(cases, layers):
    for name in ("vit", "vit-share-all", "vit-separate", "mlp"):
        case = cases[name]
        model = case.wrapped("lender")
        groups = [id(layer.down("lender")) for layer in layers(model)]
        model.add_adapter("borrower", case.config(projection="lender"))
        for dtype in (torch.float32, torch.float16, torch.float32):
            model.to(dtype)
            for layer in layers(model):
                assert layer.down("borrower") is layer.down("lender")
                holder, _ = layer.projection_holder["lender"]
                assert layer.down("borrower") is holder.arc_projection["lender"]
        assert [id(layer.down("lender")) for layer in layers(model)] == groups
        copied = copy.deepcopy(model)
        for layer, other in zip(layers(copied), layers(model), strict=True):
            assert layer.down("borrower") is layer.down("lender")
            assert layer.down("borrower") is not other.down("lender")
        assert not any("arc_projection.borrower" in key for key in model.state_dict())


def test_borrowed_projections_follow_the_lenders_training(cases, run, layers):
    case = cases["vit"]
    model = case.wrapped("lender")
    model.add_adapter("borrower", case.config(projection="lender"))
    before = [layer.down("borrower").clone() for layer in layers(model)]
    model.set_adapter("lender")
    _step(model.train(), case, None)
    for layer, values in zip(layers(model), before, strict=True):
        assert not torch.equal(layer.down("borrower"), values)
        assert layer.down("borrower") is layer.down("lender")

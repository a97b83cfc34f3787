"""Rows with adapters of their own, in the shape of PEFT's tests of mixed batches."""

import pytest
import torch
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig


def _rows(count):
    return [("__base__", "adapter0", "adapter1")[i % 3] for i in range(count)]


def _outputs(model, x, run):
    with model.disable_adapter():
        outputs = {"__base__": run(model, x)}
    for name in ("adapter0", "adapter1"):
        model.set_adapter(name)
        outputs[name] = run(model, x)
    return outputs


def test_every_row_gets_the_outputs_of_its_adapter(case, run):
    model = case.wrapped("adapter0", "adapter1")
    names, outputs = _rows(len(case.x)), _outputs(model, case.x, run)
    for active in ("adapter0", "adapter1"):
        model.set_adapter(active)
        mixed = run(model, case.x, adapter_names=names)
        for row, name in enumerate(names):
            assert torch.allclose(mixed[row], outputs[name][row], atol=1e-4, rtol=1e-4)
        assert torch.equal(run(model, case.x), outputs[active])


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["lin0"]},
        {"target_modules": ["lin1"]},
        {"r": 2},
        {"adapter_bias": False},
        {"up_projection": "separate"},
    ],
)
@pytest.mark.parametrize("order", [0, 1])
def test_adapters_of_different_kinds_are_mixed(cases, run, stir, settings, order):
    case = cases["mlp"]
    both = [case.config(), case.config(**settings)]
    model = get_peft_model(case.base(), both[order], "adapter0")
    model.add_adapter("adapter1", both[1 - order])
    stir(model, "adapter0", 1)
    stir(model, "adapter1", 2)
    model.eval()
    names, outputs = _rows(len(case.x)), _outputs(model, case.x, run)
    mixed = run(model, case.x, adapter_names=names)
    for row, name in enumerate(names):
        assert torch.allclose(mixed[row], outputs[name][row], atol=1e-4, rtol=1e-4)


def test_disabled_adapters_stay_so_whatever_the_names(one, run):
    model = one.wrapped("adapter0", "adapter1")
    with model.disable_adapter():
        mixed = run(model, one.x, adapter_names=_rows(len(one.x)))
        assert torch.equal(mixed, run(model, one.x))


class _Saves(nn.Module):
    """A saved module that can't be mixed."""

    def __init__(self):
        super().__init__()
        self.lin0 = nn.Linear(10, 10)
        self.norm = nn.LayerNorm(10)

    def forward(self, x):
        return self.norm(self.lin0(x))


def test_saved_modules_other_than_linear_ones_are_refused_by_name(run):
    config = ArcConfig(r=2, target_modules=["lin0"], modules_to_save=["norm"])
    model = get_peft_model(_Saves(), config, "adapter0").eval()
    x = torch.randn(3, 10)
    before = run(model, x)
    with pytest.raises(ValueError, match="LayerNorm is among modules_to_save"):
        run(model, x, adapter_names=["adapter0"] * 3)
    assert torch.equal(run(model, x), before)


BAD = {
    "too few": (lambda n: ["adapter0"] * (n - 1), "one name a row"),
    "too many": (lambda n: ["adapter0"] * (n + 1), "one name a row"),
    "unknown": (lambda n: ["nobody"] * n, "'nobody'.*adapter0, adapter1"),
    "one unknown": (lambda n: ["adapter0"] * (n - 1) + ["nobody"], "'nobody'"),
    "two unknown": (lambda n: ["nobody"] * (n - 1) + ["noone"], "'nobody', 'noone'"),
}


@pytest.mark.parametrize("mistake", list(BAD))
def test_names_that_do_not_fit_are_refused(one, run, mistake):
    names, message = BAD[mistake]
    model = one.wrapped("adapter0", "adapter1")
    before = run(model, one.x)
    with pytest.raises(ValueError, match=message):
        run(model, one.x, adapter_names=names(len(one.x)))
    assert torch.equal(run(model, one.x), before)
    mixed = run(model, one.x, adapter_names=["adapter0"] * len(one.x))
    assert torch.allclose(mixed, before, atol=1e-4, rtol=1e-4)


def test_mixing_in_training_mode_is_refused(one, run):
    model = one.wrapped("adapter0")
    before = run(model, one.x)
    with pytest.raises(ValueError, match=r"call model\.eval\(\) first"):
        model.train()(one.x, adapter_names=["adapter0"] * len(one.x))
    assert torch.equal(run(model.eval(), one.x), before)


def test_mixing_folded_adapters_is_refused(one, run):
    model = one.wrapped("adapter0", "adapter1")
    model.merge_adapter(["adapter0"])
    before = run(model, one.x)
    with pytest.raises(ValueError, match="unmerge them to mix"):
        run(model, one.x, adapter_names=["adapter1"] * len(one.x))
    assert torch.equal(run(model, one.x), before)


def test_a_failing_batch_leaves_no_hooks(one, run):
    model = one.wrapped("adapter0", "adapter1")
    before = run(model, one.x)
    hooks = sum(len(module._forward_hooks) for module in model.modules())
    with pytest.raises((RuntimeError, AssertionError)):
        run(model, one.x[..., :-1], adapter_names=_rows(len(one.x)))
    assert sum(len(module._forward_hooks) for module in model.modules()) == hooks
    assert torch.equal(run(model, one.x), before)

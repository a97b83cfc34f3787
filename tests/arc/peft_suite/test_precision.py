"""Adapter and backbone in different precisions."""

import pytest
import torch
from peft import PeftModel, get_peft_model
from peft.helpers import disable_input_dtype_casting

HALF = [torch.float16, torch.bfloat16]


def _arc_dtypes(model, name=""):
    return {p.dtype for n, p in model.named_parameters() if ".arc_" in n and n.endswith(name)}


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtype_of_the_adapter(one, tmp_path, dtype, autocast, low):
    options = {"autocast_adapter_dtype": autocast}
    expected = {torch.float32 if autocast and dtype in HALF else dtype}
    model = get_peft_model(one.base().to(dtype), one.config(), **options)
    model.add_adapter("other", one.config(), **options)
    assert _arc_dtypes(model) == expected
    model.save_pretrained(tmp_path)
    model = PeftModel.from_pretrained(
        one.base().to(dtype), tmp_path, low_cpu_mem_usage=low, **options
    )
    model.load_adapter(tmp_path / "other", "other", low_cpu_mem_usage=low, **options)
    assert _arc_dtypes(model) == expected


@pytest.mark.parametrize(("dtype", "autocast"), [(torch.float16, True), (torch.bfloat16, False)])
def test_half_precision_backbones_run_train_and_fold(few, run, stir, dtype, autocast):
    x = few.x.to(dtype)
    model = get_peft_model(few.base().to(dtype), few.config(), autocast_adapter_dtype=autocast)
    stir(model)
    expected = run(model.eval(), x)
    assert expected.dtype == dtype and torch.isfinite(expected).all()
    for safe in (False, True):
        model.merge_adapter(safe_merge=safe)
        assert torch.allclose(run(model, x), expected, atol=0.2, rtol=0.05)
        model.unmerge_adapter()
        assert torch.equal(run(model, x), expected)
    model.train()(x).float().square().mean().backward()
    learned = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in learned)
    assert run(model.eval().merge_and_unload(), x).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_wrapped_model_is_cast_as_a_whole(few, run, dtype):
    model = few.wrapped()
    expected = run(model, few.x)
    model.to(dtype)
    assert _arc_dtypes(model) == {dtype}
    outputs = run(model, few.x.to(dtype))
    assert outputs.dtype == dtype
    assert torch.allclose(outputs.float(), expected, atol=0.15, rtol=0.05)


@pytest.mark.parametrize("dtype", HALF)
def test_outputs_under_autocast(few, run, dtype):
    model = few.wrapped()
    expected = run(model, few.x)
    with torch.autocast("cpu", dtype=dtype):
        outputs = run(model, few.x)
        model.train()(few.x).float().square().mean().backward()
    assert torch.allclose(outputs.float(), expected, atol=0.15, rtol=0.05)
    learned = [p for p in model.parameters() if p.requires_grad]
    assert all(torch.isfinite(p.grad).all() for p in learned)


@pytest.mark.parametrize("dtype", HALF)
def test_folded_exactly_as_in_single_precision(one, dtype, layers):
    single = one.wrapped()
    half = one.wrapped().to(dtype)
    with torch.no_grad():
        for one, other in zip(single.parameters(), half.parameters(), strict=True):
            one.copy_(other)
    single.merge_adapter()
    half.merge_adapter()
    for one, other in zip(layers(single), layers(half), strict=True):
        for consumer, rounded in zip(one.consumers, other.consumers, strict=True):
            assert torch.equal(consumer.weight.to(dtype), rounded.weight)


def test_a_borrowed_projection_may_be_in_another_precision(cases, run, stir):
    case = cases["vit"]
    base = case.base().to(torch.bfloat16)
    model = get_peft_model(base, case.config(), "lender", autocast_adapter_dtype=False)
    model.add_adapter("borrower", case.config(projection="lender"), autocast_adapter_dtype=True)
    stir(model, "lender")
    stir(model, "borrower", 1)
    model.set_adapter("borrower")
    x = case.x.bfloat16()
    expected = run(model.eval(), x)
    assert expected.dtype == torch.bfloat16
    names = ["borrower"] * len(x)
    assert torch.allclose(run(model, x, adapter_names=names), expected, atol=0.1, rtol=0.05)
    model.merge_adapter()
    assert torch.allclose(run(model, x), expected, atol=0.2, rtol=0.05)


def test_casting_of_inputs_can_be_turned_off(cases, run):
    case = cases["mlp"]
    model = case.wrapped()
    with disable_input_dtype_casting(model):
        assert torch.isfinite(run(model, case.x)).all()


def test_a_cast_while_folded_unfolds_to_the_new_precision(one, run):
    model = one.wrapped()
    model.merge_adapter()
    model.bfloat16()
    model.unmerge_adapter()
    dtypes = {p.dtype for p in model.parameters()}
    assert dtypes == {torch.bfloat16}
    assert run(model, one.x.bfloat16()).dtype == torch.bfloat16

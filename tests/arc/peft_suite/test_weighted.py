"""Combining adapters into a new one."""

import pytest
import torch
from peft import get_peft_model

from arcvit import ArcConfig

WEIGHTS = [[1.0, 1.0], [0.0, 1.0], [0.5, -0.3]]


def _deltas(model, layers, name):
    """What an adapter does to its input: the matrix added to the identity, and the bias."""
    found = []
    for layer in layers(model):
        if name in layer.arc_coefficients:
            factors = layer.factors(name)
            bias = torch.zeros(layer.width) if factors.bias is None else factors.bias
            found.append((factors.into @ factors.out_of, bias))
    return found


def _check(model, layers, names, weights, new):
    sources = [_deltas(model, layers, name) for name in names]
    for site, (matrix, bias) in enumerate(_deltas(model, layers, new)):
        terms = [source[site] for source in sources]
        expected = sum(w * m for w, (m, _) in zip(weights, terms, strict=True))
        assert torch.allclose(matrix, expected, atol=1e-4)
        expected = sum(w * b for w, (_, b) in zip(weights, terms, strict=True))
        assert torch.allclose(bias, expected, atol=1e-5)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_side_by_side_is_exact(headless, layers, weights):
    model = headless.wrapped("one", "two")
    model.add_weighted_adapter(["one", "two"], weights, "sum", combination_type="cat")
    _check(model, layers, ["one", "two"], weights, "sum")
    assert all(layer.r["sum"] == 2 * layer.r["one"] for layer in layers(model))


def test_the_sum_equals_both_active(headless, run):
    model = headless.wrapped("one", "two")
    model.base_model.set_adapter(["one", "two"])
    expected = run(model, headless.x)
    model.add_weighted_adapter(["one", "two"], [1.0, 1.0], "sum")
    assert model.active_adapters == ["one", "two"]
    model.set_adapter("sum")
    assert torch.allclose(run(model.eval(), headless.x), expected, atol=1e-4)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("name", ["vit", "vit-share-all", "vit-full-core", "mlp"])
def test_with_one_projection_the_rank_stays(cases, layers, stir, name, weights):
    case = cases[name]
    model = case.wrapped("one")
    model.add_adapter("two", case.config(projection="one"))
    stir(model, "two", 4)
    model.add_weighted_adapter(["one", "two"], weights, "sum", combination_type="linear")
    _check(model, layers, ["one", "two"], weights, "sum")
    assert all(layer.r["sum"] == layer.r["one"] for layer in layers(model))
    assert all(layer.factors("sum").down is layer.factors("one").down for layer in layers(model))


@pytest.mark.parametrize("kind", ["cat", "linear"])
def test_one_adapter_is_weighted_or_negated(one, layers, kind):
    for weight in (1.0, -1.0, 0.3):
        model = one.wrapped()
        model.add_weighted_adapter(["default"], [weight], "new", combination_type=kind)
        _check(model, layers, ["default"], [weight], "new")


def test_an_adapter_cancels_itself(cases, layers):
    for name in ("mlp", "vit"):
        model = cases[name].wrapped("one")
        model.add_weighted_adapter(["one", "one"], [1.0, -1.0], "none", combination_type="linear")
        for matrix, bias in _deltas(model, layers, "none"):
            assert not matrix.any() and not bias.any()


def test_ranks_of_their_own_are_put_side_by_side(mlp, layers, stir):
    ones = {"target_modules": ["lin0", "lin1"], "r": 4}
    model = get_peft_model(mlp(), ArcConfig(**ones, rank_pattern={"lin0": 2}), "one")
    model.add_adapter("two", ArcConfig(**ones, rank_pattern={"lin0": 5}))
    stir(model, "one", 1)
    stir(model, "two", 2)
    model.add_weighted_adapter(["one", "two"], [1.0, 2.0], "sum", combination_type="cat")
    _check(model, layers, ["one", "two"], [1.0, 2.0], "sum")
    assert [layer.r["sum"] for layer in layers(model)] == [7, 8]


def test_the_combination_is_inactive_frozen_and_saved(cases, layers, own, run, tmp_path):
    from peft import PeftModel

    case = cases["vit"]
    model = case.wrapped("one", "two")
    model.add_weighted_adapter(["one", "two"], [1.0, 0.5], "sum")
    assert model.active_adapters == ["one"]
    assert not any(p.requires_grad for p in own(model, "sum").values())
    model.set_adapter("sum")
    assert all(p.requires_grad for p in own(model, "sum").values())
    expected = run(model.eval(), case.x)
    model.save_pretrained(tmp_path, selected_adapters=["sum"])
    loaded = PeftModel.from_pretrained(case.base(), tmp_path / "sum")
    assert torch.equal(run(loaded, case.x), expected)
    model.set_adapter("one")
    model.delete_adapter("sum")
    assert set(model.peft_config) == {"one", "two"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_combination_has_the_precision_of_its_parts(few, dtype):
    model = get_peft_model(few.base().to(dtype), few.config(), "one")
    model.add_adapter("two", few.config())
    model.add_weighted_adapter(["one", "two"], [1.0, 1.0], "sum")
    assert {p.dtype for n, p in model.named_parameters() if ".arc_" in n} == {torch.float32}


BAD = {
    "unknown": (["one", "nobody"], [1.0, 1.0], "cat", "unknown adapter.*'nobody'"),
    "none": ([], [], "cat", "none given"),
    "weights": (["one", "two"], [1.0], "cat", "1 weights for 2 adapters"),
    "type": (["one", "two"], [1.0, 1.0], "svd", "'svd' is not known"),
    "projections": (["one", "two"], [1.0, 1.0], "linear", "different projections"),
    "ranks": (["one", "wide"], [1.0, 1.0], "linear", "different projections"),
    "up": (["one", "separate"], [1.0, 1.0], "cat", "differ in up_projection"),
    "share": (["one", "alone"], [1.0, 1.0], "cat", "differ in share"),
    "blocks": (["one", "first"], [1.0, 1.0], "cat", "differ in their sites"),
    "blocks, one": (["one", "first"], [1.0, 1.0], "linear", "differ in their sites"),
    "excluded": (["one", "less"], [1.0, 1.0], "cat", "differ in their sites"),
    "too wide": (["one", "wide"] * 2, [1.0] * 4, "cat", "r=46 is larger than the width 32"),
}
OTHERS = {
    "wide": {"r": 20},
    "separate": {"up_projection": "separate"},
    "alone": {"share": "none"},
    "first": {"layers_to_transform": [0]},
    "less": {"exclude_modules": ["blocks.1.norm2"]},
}


@pytest.fixture(scope="module")
def crowded(cases):
    """Every adapter that a row of BAD names; what is refused leaves it as it was."""
    model = cases["vit"].wrapped("one", "two")
    for name, settings in OTHERS.items():
        model.add_adapter(name, cases["vit"].config(**settings))
    return model.eval()


@pytest.mark.parametrize("mistake", list(BAD))
def test_what_cannot_be_combined_is_refused(cases, crowded, mistake, run):
    model, case, (names, weights, kind, message) = crowded, cases["vit"], BAD[mistake]
    before, known = run(model, case.x), set(model.peft_config)
    keys = model.state_dict().keys()
    with pytest.raises(ValueError, match=message):
        model.add_weighted_adapter(names, weights, "sum", combination_type=kind)
    assert set(model.peft_config) == known
    assert model.state_dict().keys() == keys
    assert torch.equal(run(model, case.x), before)


def test_ranks_that_would_split_a_shared_projection_are_refused(cases, run):
    case = cases["vit"]
    model = case.wrapped("one", rank_pattern={r"blocks\.0\.norm1": 1, r"blocks\.1\.norm1": 2})
    model.add_adapter(
        "two", case.config(rank_pattern={r"blocks\.0\.norm1": 2, r"blocks\.1\.norm1": 1})
    )
    before = run(model.eval(), case.x)
    with pytest.raises(ValueError, match=r"share=.none."):
        model.add_weighted_adapter(["one", "two"], [1.0, 1.0], "sum", combination_type="cat")
    assert set(model.peft_config) == {"one", "two"}
    assert torch.equal(run(model, case.x), before)


def test_an_existing_name_is_left_alone_as_in_peft(one):
    model = one.wrapped("one", "two")
    config = model.peft_config["two"]
    model.add_weighted_adapter(["one"], [2.0], "two")
    assert model.peft_config["two"] is config

"""The paper's ablations, each a setting of the config."""

import pytest
import timm
import torch
from peft import PeftModel, get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.arc.layer import ArcLayer

D, L, R = 32, 3, 4


def vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=D, depth=L, num_heads=2,
        num_classes=5,
    )  # fmt: skip


def adapted(**settings) -> nn.Module:
    return get_peft_model(vit(), ArcConfig(**{"r": R, **settings})).eval()


def randomise(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def layers(model: nn.Module) -> list[ArcLayer]:
    return [m for m in model.modules() if isinstance(m, ArcLayer)]


ABLATIONS = {
    "paper": ({}, 2 * (D * R + L * (R + D))),
    "wider bottleneck": ({"r": 9}, 2 * (D * 9 + L * (9 + D))),
    "r of one": ({"r": 1}, 2 * (D + L * (1 + D))),
    "MHA only": ({"variant": "arc_att"}, D * R + L * (R + D)),
    "FFN only": ({"variant": "arc_ffn"}, D * R + L * (R + D)),
    "one projection for both roles": ({"share": "all"}, D * R + 2 * L * (R + D)),
    "no sharing": ({"share": "none"}, 2 * L * (D * R + R + D)),
    "separate up-projection": ({"up_projection": "separate"}, 2 * (2 * D * R + L * (R + D))),
    "separate and unshared": (
        {"up_projection": "separate", "share": "none"},
        2 * L * (2 * D * R + R + D),
    ),
    "full cores": ({"core": "full"}, 2 * (D * R + L * (R * R + D))),
    "full cores on fixed projections": (
        {"core": "full", "train_projection": False},
        2 * L * (R * R + D),
    ),
    "after MHA and FFN": ({"sites": "after"}, 2 * (D * R + L * (R + D))),
    "before and after, unshared": (
        {"sites": "both", "share": "none"},
        4 * L * (D * R + R + D),
    ),
    "before and after MHA": ({"sites": "both", "variant": "arc_att"}, D * R + 2 * L * (R + D)),
    "no bias": ({"adapter_bias": False}, 2 * (D * R + L * R)),
    "last layers": ({"layers_to_transform": [1, 2]}, 2 * (D * R + 2 * (R + D))),
    "first layer": ({"layers_to_transform": 0}, 2 * (D * R + R + D)),
    "before the norm": ({"placement": "before_norm"}, 2 * (D * R + L * (R + D))),
    "zero coefficients": ({"coefficients_init": "zeros"}, 2 * (D * R + L * (R + D))),
    "Xavier coefficients": ({"coefficients_init": "xavier"}, 2 * (D * R + L * (R + D))),
    "another r for the FFN": (
        {"rank_pattern": {"norm2": 6}},
        (D * R + L * (R + D)) + (D * 6 + L * (6 + D)),
    ),
    "without a block": (
        {"exclude_modules": r"blocks\.1\..*"},
        2 * (D * R + 2 * (R + D)),
    ),
}


@pytest.fixture(params=ABLATIONS)
def ablation(request: pytest.FixtureRequest) -> tuple[dict, int]:
    return ABLATIONS[request.param]


@torch.no_grad()
def test_parameters_and_output_are_those_of_the_equation(ablation) -> None:
    settings, expected = ablation
    model = randomise(adapted(**settings))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected
    for layer in layers(model):
        width = layer.base_layer.in_features if isinstance(layer.base_layer, nn.Linear) else D
        x = torch.randn(2, 17, width)
        expected_output = (
            layer.base_layer(x + _update_of(layer, x))
            if settings.get("placement") == "before_norm"
            else layer.base_layer(x) + _update_of(layer, layer.base_layer(x))
        )
        torch.testing.assert_close(layer(x), expected_output)


def _update_of(layer: ArcLayer, x: torch.Tensor) -> torch.Tensor:
    down, core, up, bias = layer.factors("default")
    core = core if core.ndim == 2 else torch.diag(core)
    return x @ down @ core @ up + (0 if bias is None else bias)


@torch.no_grad()
def test_folds_and_comes_back_or_says_why_not(ablation) -> None:
    settings, _ = ablation
    model = randomise(adapted(**settings))
    images = torch.randn(2, 3, 32, 32)
    before = model(images)
    if settings.get("placement") == "before_norm":
        with pytest.raises(ValueError, match="before the norm"):
            model.merge_adapter()
    else:
        model.merge_adapter()
        torch.testing.assert_close(model(images), before, rtol=1e-4, atol=1e-4)
        model.unmerge_adapter()
    assert torch.equal(model(images), before)


@torch.no_grad()
@pytest.mark.parametrize(
    "ablation",
    [
        "no sharing",
        "separate up-projection",
        "no bias",
        "last layers",
        "another r for the FFN",
        "full cores on fixed projections",
        "before and after MHA",
    ],
    indirect=True,
)
def test_saves_and_loads(ablation, tmp_path) -> None:
    settings, _ = ablation
    model = randomise(adapted(**settings))
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(vit(), str(tmp_path)).eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(images), model(images))


@pytest.mark.parametrize(
    ("start", "att_is_zero", "ffn_is_zero"),
    [("paper", True, False), ("zeros", True, True), ("xavier", False, False)],
)
def test_coefficients_start_as_asked(start: str, att_is_zero: bool, ffn_is_zero: bool) -> None:
    for layer in layers(adapted(coefficients_init=start)):
        expected = att_is_zero if layer.name.endswith("norm1") else ffn_is_zero
        assert (not layer.arc_coefficients["default"].any()) == expected
    for layer in layers(adapted(coefficients_init=start, core="full")):
        assert layer.arc_coefficients["default"].any() == (start == "xavier")


def test_sharing_is_by_identity() -> None:
    def distinct(**settings) -> int:
        return len({id(layer.factors("default").down) for layer in layers(adapted(**settings))})

    assert distinct() == 2
    assert distinct(share="all") == 1
    assert distinct(share="none") == 2 * L
    assert distinct(sites="both") == 2
    assert distinct(rank_pattern={r"blocks\.0\.norm1": 2}) == 3


def test_a_pattern_that_matches_nothing_is_pointed_out() -> None:
    with pytest.warns(RuntimeWarning, match="rank_pattern keys did not match"):
        adapted(rank_pattern={"nothing": 2})

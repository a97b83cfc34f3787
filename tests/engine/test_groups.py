from pathlib import Path

import pytest
from torch import nn

from arcvit.backbones.build import build_backbone
from arcvit.engine.config import OptimConfig
from arcvit.engine.groups import count, optimizer_groups, parameters_by_part
from arcvit.recipe.methods import adapt
from arcvit.recipe.parser import parse_recipe

OPTIM = OptimConfig(lr=0.1, projection_lr=2.0, coefficients_lr=3.0, bias_lr=4.0, head_lr=0.5)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("arc", {"projection": 0.2, "coefficients": 0.3, "bias": 0.4, "head": 0.05}),
        ("arc_att", {"projection": 0.2, "coefficients": 0.3, "bias": 0.4, "head": 0.05}),
        (
            "arc:up_projection=separate:adapter_bias=false",
            {"projection": 0.2, "coefficients": 0.3, "head": 0.05},
        ),
        ("linear", {"head": 0.05}),
        ("lora", {"other": 0.1, "head": 0.05}),
        # The biases of the backbone are not those of adapters.
        ("bitfit", {"other": 0.1, "head": 0.05}),
        ("full", {"other": 0.1, "head": 0.05}),
    ],
)
def test_rates_by_part(tiny: Path, method: str, expected: dict[str, float]) -> None:
    built = build_backbone(str(tiny), num_classes=4)
    recipe = parse_recipe(["--data.path=p", f"--method={method}", "--arc.r=8"])
    model = adapt(built.model, recipe, built.head)
    root = model if method == "full" else model.base_model.model
    groups = optimizer_groups(model, root.get_submodule(built.head), OPTIM, recipe.spec.parts)
    assert {g["name"]: g["lr"] for g in groups} == pytest.approx(expected)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_a_head_on_its_own() -> None:
    head = nn.Linear(3, 2)
    parts = parameters_by_part(head, head)
    assert list(parts) == ["head"]
    assert count(parts["head"]) == 8

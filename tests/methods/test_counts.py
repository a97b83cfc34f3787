"""Trained parameters of the methods at the papers' sizes: ViT-B/16 without its head."""

import copy
from pathlib import Path

import pytest
import torch

from arcvit.backbones.build import Backbone, build_backbone
from arcvit.core.errors import UserError
from arcvit.engine.groups import count, parameters_by_part
from arcvit.methods.table import methods
from arcvit.recipe.methods import adapt
from arcvit.recipe.parser import parse_recipe

D, L = 768, 12

COUNTS = [
    # VPT, table 1: 50 prompts in each of 12 blocks.
    ("vpt", 460_800),
    ("vpt:deep=false", 38_400),
    # AdaptFormer-64, table 1: 1.26 M with a head of 100 classes (76,900).
    ("adaptformer", L * (2 * D * 64 + 64 + D)),
    # SSF, table 2: 0.28 M with a head of 100 classes.
    ("ssf", 205_824),
    # BitFit: every bias of the backbone; LayerNorm tuning: 25 norms.
    ("bitfit", 102_912),
    ("lnorm", 25 * 2 * D),
    # LoRA: rank 8 beside the fused qkv alone.
    ("lora:targets=[qkv]", L * 8 * (D + 3 * D)),
    ("lora", L * 8 * (D + 3 * D + D + 4 * D)),
    # VeRA: one scale a rank and one an output, of qkv and fc1.
    ("vera", L * (2 * 256 + 3 * D + 4 * D)),
    ("arc", 96_432),
    ("arc_att", 48_216),
    ("arc_plus", 2 * D * 39 + 4 * L * (39 + D)),
    ("arc:core=full:r=57:train_projection=false", 2 * L * (57 * 57 + D)),
    ("linear", 0),
    ("full", 85_798_656),
]


@pytest.fixture(scope="module")
def vit_b() -> Backbone:
    with torch.device("meta"):
        return build_backbone("vit_base_patch16_224", num_classes=100, weights="random")


@pytest.mark.parametrize(("method", "expected"), COUNTS)
def test_vit_b(vit_b: Backbone, method: str, expected: int) -> None:
    recipe = parse_recipe(["--data.path=p", f"--method={method}"])
    with torch.device("meta"):
        model = adapt(copy.deepcopy(vit_b.model), recipe, vit_b.head)
    inner = model if method == "full" else model.base_model.model
    parts = parameters_by_part(model, inner.get_submodule(vit_b.head), recipe.spec.parts)
    assert count(parts.pop("head")) == 76_900
    assert sum(map(count, parts.values())) == expected


def test_the_docs_table_is_the_table_of_methods() -> None:
    text = (Path(__file__).parents[2] / "docs" / "bench.md").read_text()
    rows = {row[1].strip(" `"): row[2:4] for row in map(_cells, text.splitlines()) if row}
    for spec in methods().values():
        if spec.argument is None:
            what, count_shown = rows[spec.name]
            assert what.strip().startswith(spec.summary)
            assert int(count_shown.replace(",", "")) == dict(COUNTS)[spec.name]


def _cells(line: str) -> list[str]:
    return line.split("|") if line.startswith("| `") else []


def test_vpt_refuses_windows() -> None:
    with torch.device("meta"):
        backbone = build_backbone("swin_base_patch4_window7_224", num_classes=10, weights="random")
        recipe = parse_recipe(["--data.path=p", "--method=vpt"])
        with pytest.raises(UserError, match="vpt can't be put on SwinTransformer"):
            adapt(backbone.model, recipe, backbone.head)

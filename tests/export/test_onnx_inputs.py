"""Runs that share a graph, and those that can't; no graph is made for that."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.core.errors import UserError
from arcvit.core.task import TaskBackbone
from arcvit.export.adapted import AdaptedModel
from arcvit.export.onnx_inputs import AdaptersAsInputs, adapter_inputs, input_form
from arcvit.methods.linear import NO_LAYER

Adapted = Callable[..., AdaptedModel]
SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
ARC = {"modules_to_save": ["head"], "init_weights": False, "r": 3}


def vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", num_classes=3, **SIZES).eval()


@pytest.fixture(scope="module")
def make(adapted: Adapted) -> Adapted:
    """``make("name", r=4, ...)``: a run on the tiny backbone."""

    def run(name: str, **settings: object) -> AdaptedModel:
        config = settings.pop("config", None) or ArcConfig(**{**ARC, **settings})
        return dataclasses.replace(adapted(get_peft_model(vit(), config)), name=name)

    return run


LINEAR = LoraConfig(target_modules=NO_LAYER, modules_to_save=["head"])


def test_ranks_biases_cores_and_probes_share_one_form(make: Adapted) -> None:
    runs = [
        make("one", r=4),
        make("two", r=6, adapter_bias=False, core="full", up_projection="separate"),
        make("att", variant="arc_att", r=2),
        make("probe", config=LINEAR),
    ]
    # The same weights, which have moved meanwhile.
    places = [TaskBackbone(name=f"{run.name}/vit", fingerprint="1-2") for run in runs]
    runs = [
        dataclasses.replace(run, task=dataclasses.replace(run.task, backbone=place))
        for run, place in zip(runs, places, strict=True)
    ]
    form = input_form(runs)
    assert [(group.name, list(group.sites)) for group in form.groups] == [
        ("att", ["blocks.0.norm1", "blocks.1.norm1"]),
        ("ffn", ["blocks.0.norm2", "blocks.1.norm2"]),
    ]
    given = [adapter_inputs(run, form) for run in runs]
    for own in given:
        assert own.keys() <= form.shapes.keys()
        assert all(value.dtype == np.float32 for value in own.values())
    assert given[0]["att.coefficients"].shape == (1, 2, 4, 4)
    assert given[1]["ffn.up"].shape == (6, 32)
    assert "att.bias" not in given[1]
    assert not any(name.startswith("ffn") for name in given[2])
    assert given[3].keys() == {"head.weight", "head.bias"}

    model = AdaptersAsInputs(runs[0], form)
    for run, own in zip(runs, given, strict=True):
        every = {
            name: torch.zeros([1 if isinstance(size, str) else size for size in shape])
            for name, shape in form.shapes.items()
        } | {name: torch.from_numpy(value) for name, value in own.items()}
        rows = {n for n, shape in form.shapes.items() if shape[0] == "rows"}
        every = {n: t.expand(2, *t.shape[1:]) if n in rows else t for n, t in every.items()}
        torch.testing.assert_close(model(run.images, every)[0], run.expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "changes", "sentence"),
    [
        ({"share": "none"}, {}, "'b' can't share a graph with the runs before it: its adapter has"),
        ({"layers_to_transform": [1]}, {}, "other sites"),
        ({"placement": "before_norm"}, {}, "other sites"),
        ({"modules_to_save": ["head", "norm"]}, {}, "it trains head, norm, and not its head alone"),
        ({"config": LoraConfig(target_modules=["qkv"], modules_to_save=["head"])}, {}, "of LORA"),
        ({}, {"model": vit()}, "it is a model trained whole"),
        ({}, {"backbone": TaskBackbone(name="x", fingerprint="1-2")}, "their backbones differ"),
    ],
)
def test_runs_that_cant_share_a_graph(
    settings: dict[str, object], changes: dict[str, object], sentence: str, make: Adapted
) -> None:
    other = make("b", **settings)
    if "backbone" in changes:
        changes = {"task": dataclasses.replace(other.task, **changes)}
    with pytest.raises(UserError, match=sentence):
        input_form([make("a", r=4), dataclasses.replace(other, **changes)])


def test_another_image_size_is_told_before_the_weights_it_makes(make: Adapted) -> None:
    one, other = make("a"), make("b")
    prep = dataclasses.replace(other.preprocessing, size=(64, 64))
    task = dataclasses.replace(other.task, backbone=TaskBackbone(name="tiny", fingerprint="1-2"))
    with pytest.raises(UserError, match=r"their image sizes differ \(\(64, 64\) and \(32, 32\)\)"):
        input_form([one, dataclasses.replace(other, preprocessing=prep, task=task)])

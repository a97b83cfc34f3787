"""What is compiled and captured where it is left to ``auto``, and what can't be."""

from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from accelerate import DistributedType
from torch import nn

from arcvit.core.errors import UserError
from arcvit.engine.config import EngineConfig
from arcvit.engine.mode import Plan, check_modes, choose_plan

LONG = 10**11
"""Images that pay for anything."""


def device(kind: str = "cuda", **changes: Any) -> Any:
    """What is asked of an accelerator."""
    usual = {
        "device": torch.device(kind),
        "num_processes": 1,
        "scaler": None,
        "mixed_precision": "bf16",
        "distributed_type": DistributedType.NO,
    }
    return SimpleNamespace(**usual | changes)


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    return timm.create_model("vit_tiny_patch16_224", num_classes=3, **sizes)


MODES = [
    # asked, device, images, memory, the mode, why it isn't captured
    ("auto", device(), LONG, "fast", "graph", ""),
    ("auto", device(), 5000, "fast", "capture", ""),
    ("auto", device(), 30, "fast", "off", ""),
    ("auto", device("cpu"), LONG, "fast", "off", ""),
    ("auto", device("mps"), LONG, "fast", "off", ""),
    ("auto", device(num_processes=2), LONG, "fast", "blocks", "several processes"),
    ("auto", device(distributed_type=DistributedType.FSDP), LONG, "fast", "off", ""),
    ("off", device(), LONG, "fast", "off", ""),
    ("capture", device(), 1, "fast", "capture", ""),
    ("graph", device(), 1, "lean", "graph", ""),
    ("graph", device(), 1, "min", "blocks", "memory mode min"),
    ("graph", device(scaler=object()), 1, "fast", "blocks", "fp16"),
    ("capture", device(num_processes=2), 1, "fast", "off", "several processes"),
    ("blocks", device("cpu"), 1, "fast", "blocks", ""),
]


@pytest.mark.parametrize(("asked", "on", "images", "memory", "mode", "why"), MODES)
def test_the_mode(
    vit: nn.Module, asked: Any, on: Any, images: int, memory: Any, mode: str, why: str
) -> None:
    engine = EngineConfig(compile=asked, epochs=1)
    plan, said = choose_plan(engine, on, vit, images=images, memory=memory)
    assert plan.mode == mode
    assert why in said if why else said is None


def test_what_a_run_had_before_it_has_again_where_it_can(vit: nn.Module) -> None:
    known = {"images": 30, "memory": "fast", "resumed": "graph"}
    assert choose_plan(EngineConfig(), device(), vit, **known)[0].mode == "graph"
    assert choose_plan(EngineConfig(), device("cpu"), vit, **known)[0].mode == "blocks"


def test_batch_norm_would_see_padding() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    plan, said = choose_plan(EngineConfig(), device(), model, images=LONG, memory="fast")
    assert plan.mode == "off"
    assert said == "steps aren't captured: the padding of the last batch would count in batch norm"


FROZEN = [
    ("auto", device(), torch.bfloat16),
    ("auto", device("cpu"), None),
    ("auto", device(mixed_precision="no"), None),
    ("fp32", device(), None),
    ("bf16", device("cpu"), torch.bfloat16),
]


@pytest.mark.parametrize(("asked", "on", "dtype"), FROZEN)
def test_frozen(vit: nn.Module, asked: Any, on: Any, dtype: torch.dtype | None) -> None:
    plan, _ = choose_plan(EngineConfig(frozen=asked), on, vit, images=1, memory="fast")
    assert plan.frozen == dtype


REFUSED = [
    ({"compile": "graph"}, device("cpu"), "expected off or blocks"),
    ({"compile": "capture"}, device("mps"), "expected off or blocks"),
    ({"frozen": "bf16"}, device(mixed_precision="no"), "needs --engine.precision bf16"),
]


@pytest.mark.parametrize(("settings", "on", "said"), REFUSED)
def test_refused(settings: Any, on: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_modes(EngineConfig(**settings), on)


@pytest.mark.parametrize("head_alone", [True, False])
def test_no_blocks(head_alone: bool) -> None:
    choice = {"images": 1, "memory": "fast", "head_alone": head_alone}
    asked = EngineConfig(compile="blocks")
    if head_alone:
        assert choose_plan(asked, device(), nn.Linear(2, 2), **choice)[0].mode == "off"
    else:
        with pytest.raises(UserError, match="no repeated blocks in Linear"):
            choose_plan(asked, device(), nn.Linear(2, 2), **choice)


def test_a_plan_says_what_it_does() -> None:
    said = Plan(mode="graph").describe()
    assert said == "blocks compiled and steps captured in a CUDA graph (--engine.compile)"

"""The printed Python builds the backbone that the adapter was trained on, or none."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from arcvit.backbones.build import build_backbone
from arcvit.backbones.plain_code import code_of_backbone
from arcvit.core.errors import UserError
from arcvit.core.task import AdapterTask, TaskBackbone


def task(**backbone: Any) -> AdapterTask:
    return AdapterTask(
        labels=list("abc"), head="head", preprocessing={}, backbone=TaskBackbone(**backbone)
    )


@pytest.fixture
def checkpoint(tiny: Path, tmp_path: Path) -> Path:
    """The tiny backbone as others save it: a pickle, with a head of its own."""
    (tmp_path / "config.json").write_text((tiny / "config.json").read_text())
    model = timm.create_model(f"local-dir:{tiny}", pretrained=True)
    torch.save({"model": model.state_dict()}, tmp_path / "vit.pth")
    return tmp_path / "vit.pth"


@pytest.mark.parametrize("image_size", [None, 48])
@pytest.mark.parametrize("way", ["folder", "file", "weights"])
def test_it_builds_the_same(checkpoint: Path, tiny: Path, way: str, image_size: int | None) -> None:
    asked: dict[str, Any] = {"name": str(tiny if way == "folder" else checkpoint)}
    asked["image_size"] = image_size
    if way == "weights":
        record = json.loads((tiny / "config.json").read_text())["model_args"]
        arguments = {key: record[key] for key in ("patch_size", "embed_dim", "depth", "num_heads")}
        asked = {"name": "vit_tiny_patch16_224", "weights": str(checkpoint), "args": arguments}
        asked["image_size"] = image_size or 32
    library, code = code_of_backbone(task(**asked))
    assert library == "timm"
    built = eval(code, {"timm": timm}).state_dict()
    asked["arguments"] = asked.pop("args", None)
    ours = build_backbone(**asked, num_classes=3).model.state_dict()
    assert list(built) == list(ours)
    for name, value in ours.items():
        assert name.startswith("head.") or torch.equal(built[name], value), name


def test_random_weights_have_no_code(tiny: Path) -> None:
    with pytest.raises(UserError, match="its weights are random"):
        code_of_backbone(task(name=str(tiny), weights="random"))

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from arcvit.backbones.build import Backbone, build_backbone
from arcvit.core.errors import UserError
from arcvit.export.adapted import AdaptedModel
from arcvit.export.timm_folder import write_timm
from arcvit.methods.table import method_named

Adapted = Callable[..., AdaptedModel]


@pytest.fixture
def backbone(tiny: Path) -> Backbone:
    built = build_backbone(str(tiny), num_classes=3)
    torch.manual_seed(0)
    with torch.no_grad():
        built.model.head.weight.normal_()
    return built


def test_a_folder_is_timms_local_dir(backbone: Backbone, adapted: Adapted, tmp_path: Path) -> None:
    assert write_timm([adapted(backbone.model)], tmp_path / "m").difference == 0
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    record = json.loads((tmp_path / "m" / "config.json").read_text())
    assert (record["label_names"], record["num_classes"]) == (["a", "b", "c"], 3)
    assert "num_classes" not in record["model_args"]
    assert record["pretrained_cfg"]["std"] == [0.25] * 3
    plain = timm.create_model(f"local-dir:{tmp_path / 'm'}", pretrained=True)
    for name, value in backbone.model.state_dict().items():
        assert torch.equal(plain.state_dict()[name], value)


@pytest.mark.parametrize(("method", "options"), [("arc", {"r": 3}), ("ssf", {})])
def test_a_bias_of_folding_is_kept(
    method: str,
    options: dict[str, int],
    tiny_vit: Callable[..., nn.Module],
    adapted: Adapted,
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    plain = tiny_vit(num_classes=3, qkv_bias=False)
    spec = method_named(method)
    model = spec.build(plain, spec.make_options(options), "head").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    assert write_timm([adapted(model)], tmp_path / "m").difference < 1e-5


@pytest.mark.parametrize("shift", [1.0, float("nan"), float("inf")])
def test_other_logits_are_refused(
    backbone: Backbone, adapted: Adapted, tmp_path: Path, shift: float
) -> None:
    with pytest.raises(UserError, match=r"differs .* of '[abc]' on random image \d.*was written"):
        write_timm([adapted(backbone.model, shift=shift)], tmp_path / "m")

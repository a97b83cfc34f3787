import json
from pathlib import Path

import pytest
import timm
import torch

from arcvit.backbones.build import Backbone, build_backbone
from arcvit.core.errors import UserError
from arcvit.export.timm_checkpoint import export_timm

CLASSES = ["a", "b", "c"]
CONFIG = {"input_size": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop_pct": 1.0}


@pytest.fixture
def backbone(tiny: Path) -> Backbone:
    built = build_backbone(str(tiny), num_classes=len(CLASSES))
    torch.manual_seed(0)
    with torch.no_grad():
        built.model.head.weight.normal_()
    built.model.eval()
    return built


def export(backbone: Backbone, out: Path, *, shift: float = 0.0) -> float:
    probe = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = backbone.model(probe) + shift
    return export_timm(
        backbone.model, out, classes=CLASSES, data_config=CONFIG, probe=probe, expected=expected
    )


def test_a_file_has_its_config_beside_it(backbone: Backbone, tmp_path: Path) -> None:
    assert export(backbone, tmp_path / "deep" / "m.safetensors") == 0
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["m.json", "m.safetensors"]
    record = json.loads((tmp_path / "deep" / "m.json").read_text())
    assert record["label_names"] == CLASSES
    assert record["num_classes"] == 3
    assert record["pretrained_cfg"]["std"] == [0.25] * 3
    # arcvit itself takes it as a backbone.
    again = build_backbone(str(tmp_path / "deep" / "m.safetensors"), num_classes=7)
    assert again.model.head.weight.shape == (7, 32)


def test_a_folder_is_timms_local_dir(backbone: Backbone, tmp_path: Path) -> None:
    export(backbone, tmp_path / "m")
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    plain = timm.create_model(f"local-dir:{tmp_path / 'm'}", pretrained=True)
    for name, value in backbone.model.state_dict().items():
        assert torch.equal(plain.state_dict()[name], value)


def test_other_logits_are_never_written(backbone: Backbone, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"differs .* by 1 in its logits: nothing was written"):
        export(backbone, tmp_path / "m.safetensors", shift=1.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shift", [float("nan"), float("inf")])
def test_nan_is_not_a_small_difference(backbone: Backbone, tmp_path: Path, shift: float) -> None:
    with pytest.raises(UserError, match="nothing was written"):
        export(backbone, tmp_path / "m", shift=shift)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("taken", ["m.safetensors", "m.json"])
def test_a_taken_target(backbone: Backbone, tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(UserError, match="is there already: choose another --out or remove it"):
        export(backbone, tmp_path / "m.safetensors")
    assert (tmp_path / taken).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["m.pth", "m.onnx", "m.bin"])
def test_another_ending(backbone: Backbone, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"expected NAME\.safetensors, or a folder"):
        export(backbone, tmp_path / name)

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from arcvit.backbones.build import Backbone, build_backbone
from arcvit.core.errors import UserError


def equal(backbone: Backbone, folder: Path) -> bool:
    saved = load_file(folder / "model.safetensors")
    own = backbone.model.state_dict()
    return all(torch.equal(own[k], v) for k, v in saved.items() if not k.startswith("head."))


def test_a_folder_in_timms_format(tiny: Path) -> None:
    built = build_backbone(str(tiny), num_classes=5)
    assert equal(built, tiny)
    assert (built.head, built.input_size) == ("head", (32, 32))
    assert built.model.head.weight.shape == (5, 32)
    assert not built.model.head.weight.any()
    assert not built.model.head.bias.any()


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_a_file_with_its_config_beside_it(tiny: Path, tmp_path: Path, ending: str) -> None:
    shutil.copy(tiny / "config.json", tmp_path / "mine.json")
    state = load_file(tiny / "model.safetensors")
    file = tmp_path / f"mine{ending}"
    save_file(state, file) if ending == ".safetensors" else torch.save(state, file)
    assert equal(build_backbone(str(file), num_classes=5), tiny)


def test_weights_of_another_file(tiny: Path, other_tiny: Path) -> None:
    weights = str(other_tiny / "model.safetensors")
    assert equal(build_backbone(str(tiny), num_classes=5, weights=weights), other_tiny)


def test_random_weights_follow_the_seed(tiny: Path) -> None:
    def build(seed: int) -> dict[str, torch.Tensor]:
        state = torch.get_rng_state()
        built = build_backbone(str(tiny), num_classes=5, weights="random", seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return built.model.state_dict()

    one, same, other = build(3), build(3), build(4)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["patch_embed.proj.weight"], other["patch_embed.proj.weight"])
    assert not equal(build_backbone(str(tiny), num_classes=5, weights="random"), tiny)


def test_the_bundled_backbone_needs_no_network() -> None:
    built = build_backbone("demo", num_classes=20)
    features = built.model.eval()(torch.zeros(1, 3, *built.input_size))
    assert features.shape == (1, 20)


def test_another_input_size(tiny: Path) -> None:
    built = build_backbone(str(tiny), num_classes=5, image_size=48)
    assert built.input_size == (48, 48)
    assert built.model(torch.zeros(1, 3, 48, 48)).shape == (1, 5)


def test_drop_path(tiny: Path) -> None:
    built = build_backbone(str(tiny), num_classes=5, drop_path=0.3)
    assert built.model.blocks[-1].drop_path1.drop_prob == pytest.approx(0.3)


Change = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
WRONG_STATES: dict[str, tuple[Change, str]] = {
    "missing": (
        lambda s: {k: v for k, v in s.items() if k != "norm.weight"},
        "doesn't fit VisionTransformer: missing: norm.weight.",
    ),
    "unexpected": (lambda s: s | {"extra": torch.ones(1)}, "unexpected: extra."),
    "shape": (lambda s: s | {"norm.bias": torch.ones(3)}, "wrong shape: norm.bias."),
    "other": (
        lambda s: {f"other.{k}": v for k, v in s.items()},
        " more; unexpected: other.",
    ),
}


@pytest.mark.parametrize("name", WRONG_STATES)
def test_weights_that_dont_fit(tiny: Path, tmp_path: Path, name: str) -> None:
    change, sentence = WRONG_STATES[name]
    save_file(change(load_file(tiny / "model.safetensors")), tmp_path / "w.safetensors")
    with pytest.raises(UserError) as caught:
        build_backbone(str(tiny), num_classes=5, weights=str(tmp_path / "w.safetensors"))
    assert "w.safetensors doesn't fit" in str(caught.value)
    assert sentence in str(caught.value)


WRONG: list[tuple[str, dict[str, object], str]] = [
    ("vit_base_patch16_22", {}, "backbone 'vit_base_patch16_22' is not known: expected 'demo'"),
    ("vit_base_patch16_22", {}, "Did you mean 'vit_base_patch16_224'"),
    ("dmo", {}, "Did you mean 'demo'"),
    ("vit_base_patch16_224.augreg", {}, "has no weights tagged 'augreg': expected one of"),
    ("", {}, "backbone is empty: give a timm name"),
    ("nowhere/model.safetensors", {}, "isn't there: give a timm name, a file or a folder"),
    ("model.pth", {}, "backbone file 'model.pth' isn't there"),
    ("demo", {"weights": "nowhere.pth"}, "weights file 'nowhere.pth' isn't there"),
    ("demo", {"image_size": 4}, "image_size is 4: expected a multiple of the patch of 8 pixels"),
    ("demo", {"image_size": 4}, "the nearest of which is 8."),
    ("demo", {"image_size": 70}, "the nearest of which is 64 or 72."),
    ("demo", {"image_size": 63}, "the nearest of which is 56 or 64."),
    (
        "resnet18",
        {"weights": "random", "image_size": 64},
        "'resnet18' can't be built with img_size",
    ),
    ("vgg11", {"weights": "random", "drop_path": 0.1}, "can't be built with drop_path_rate=0.1"),
    ("levit_128", {"weights": "random"}, "has no single classifier module to train"),
]


@pytest.mark.parametrize(("name", "options", "sentence"), WRONG)
def test_wrong_names_and_options(name: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        build_backbone(name, num_classes=5, **options)  # type: ignore[arg-type]
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG_CONFIGS: list[tuple[object, str]] = [
    ([1], "is not a timm config: expected JSON with 'architecture'"),
    ({}, "is not a timm config: expected JSON with 'architecture'"),
    ({"architecture": "vit_tinny_patch16_224"}, "Did you mean 'vit_tiny_patch16_224'"),
    ({"architecture": "vit_tiny_patch16_224", "model_args": [1]}, "is not a timm config"),
    ({"architecture": "vit_tiny_patch16_224", "model_args": {"foo": 1}}, "can't be built with foo"),
    ({"architecture": "vit_tiny_patch16_224", "model_args": {"embed_dim": 31}}, "can't be built"),
]


@pytest.mark.parametrize(("config", "sentence"), WRONG_CONFIGS)
def test_wrong_configs(tiny: Path, tmp_path: Path, config: object, sentence: str) -> None:
    shutil.copy(tiny / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        build_backbone(str(tmp_path), num_classes=5)
    assert sentence in str(caught.value)


def test_incomplete_folders_and_nameless_files(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a backbone: expected the config\.json of"):
        build_backbone(str(tmp_path), num_classes=5)
    shutil.copy(tiny / "config.json", tmp_path)
    with pytest.raises(UserError, match=r"weights file .*model\.safetensors' isn't there"):
        build_backbone(str(tmp_path), num_classes=5)
    (tmp_path / "deeper").mkdir()
    shutil.copy(tiny / "model.safetensors", tmp_path / "deeper" / "mine.safetensors")
    with pytest.raises(UserError, match=r"can't tell the architecture of 'mine\.safetensors'"):
        build_backbone(str(tmp_path / "deeper" / "mine.safetensors"), num_classes=5)

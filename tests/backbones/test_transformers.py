"""Backbones of transformers, from folders: weights, images, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from arcvit.backbones.build import build_backbone
from arcvit.backbones.processor import data_config_of
from arcvit.core.errors import UserError
from arcvit.data.pixels.augment import ToInput
from arcvit.data.pixels.decode import to_array
from arcvit.data.pixels.preset import resolve_preset

SQUARE = {"height": 40, "width": 40}
PROCESSORS: dict[str, Any] = {
    "squash": transformers.ViTImageProcessorPil(size={"height": 32, "width": 48}),
    "siglip": transformers.SiglipImageProcessorPil(size=SQUARE, resample=3),
    "beit": transformers.BeitImageProcessorPil(
        size=SQUARE, crop_size={"height": 32, "width": 32}, do_center_crop=True
    ),
    "deit": transformers.DeiTImageProcessorPil(size=SQUARE, crop_size=SQUARE),
    "squash-crop": transformers.DeiTImageProcessorPil(
        size=SQUARE, crop_size={"height": 35, "width": 35}
    ),
    "shortest-crop": transformers.BitImageProcessorPil(
        size={"shortest_edge": 40}, crop_size={"height": 33, "width": 33}
    ),
    "clip": transformers.CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size=40),
    "not-normalized": transformers.ViTImageProcessorPil(size=SQUARE, do_normalize=False),
    "lanczos": transformers.ViTImageProcessorPil(size=SQUARE, resample=1),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_the_processor(name: str) -> None:
    processor = PROCESSORS[name]
    config = data_config_of(processor)
    prep = resolve_preset("model", input_size=config["input_size"][1:], data_config=config)
    draws = np.random.default_rng(0)
    for width in range(50, 58):  # crops begin at odd places and at even ones
        for size in ((45, width), (width, 45), (width, width)):
            image = Image.fromarray(draws.integers(0, 256, (*size, 3), dtype=np.uint8))
            theirs = processor(image, return_tensors="pt")["pixel_values"][0]
            ours = ToInput.of(prep).eval()(to_array(image, prep)[None])[0]
            assert ours.shape == theirs.shape
            assert (ours - theirs).abs().max() < 1e-6, size


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "own-steps": (lambda: transformers.ConvNextImageProcessorPil(), "has a preprocess of its own"),
    "no-resize": (lambda: transformers.ViTImageProcessorPil(do_resize=False), "has do_resize off"),
    "scale": (lambda: transformers.ViTImageProcessorPil(rescale_factor=1), "the rescale_factor 1"),
    "box": (lambda: transformers.ViTImageProcessorPil(resample=4), "has the resample 4"),
    "any-size": (
        lambda: transformers.ViTImageProcessorPil(size={"shortest_edge": 40}),
        "crops to nothing",
    ),
    "padded": (
        lambda: transformers.CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size=48),
        "resizes to {'shortest_edge': 40} and crops to",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_preprocessing_cant_say_is_refused(name: str) -> None:
    build, sentence = REFUSED[name]
    with pytest.raises(UserError, match=r"another preprocessing, as --data.preset vtab") as caught:
        data_config_of(build())
    assert sentence in str(caught.value)


def test_a_folder_of_transformers(hf_vit: Path) -> None:
    built = build_backbone(str(hf_vit), num_classes=5)
    assert (built.head, built.input_size, built.commit) == ("classifier", (32, 32), None)
    own = built.model.state_dict()
    saved = transformers.ViTForImageClassification.from_pretrained(hf_vit).state_dict()
    assert all(torch.equal(own[k], v) for k, v in saved.items() if "classifier" not in k)
    assert own["classifier.weight"].shape == (5, 32)
    assert not own["classifier.weight"].any()
    again = build_backbone(f"transformers:{hf_vit}", num_classes=5).model.state_dict()
    assert all(torch.equal(own[key], again[key]) for key in own)


def test_arguments_weights_and_random_weights(hf_vit: Path, tmp_path: Path) -> None:
    args = {"num_hidden_layers": 1, "hidden_dropout_prob": 0.5}
    small = build_backbone(str(hf_vit), num_classes=5, weights="random", seed=3, arguments=args)
    assert len(small.model.vit.layers) == 1
    assert small.model.config.hidden_dropout_prob == 0.5
    file = tmp_path / "w.safetensors"
    changed = {k: v + 1 for k, v in load_file(hf_vit / "model.safetensors").items()}
    save_file(changed, file, metadata={"format": "pt"})
    before = build_backbone(str(hf_vit), num_classes=5).model.state_dict()
    after = build_backbone(str(hf_vit), num_classes=5, weights=str(file)).model.state_dict()
    assert all(torch.equal(after[k], v + 1) for k, v in before.items() if "classifier" not in k)


Change = Callable[[Path], object]


def _edit(**entries: Any) -> Change:
    def edit(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))

    return edit


def _lose_a_layer(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    kept = {k: v for k, v in state.items() if "mlp.fc1" not in k and "intermediate" not in k}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


WRONG: dict[str, tuple[Change, dict[str, Any], str]] = {
    "type": (_edit(model_type="vitt"), {}, "is no model that transformers knows"),
    "no-classifier": (
        _edit(model_type="vit_mae"),
        {},
        "no image classifier for {folder!r}, whose type is 'vit_mae'; timm has one: --backbone"
        " vit_base_patch16_224.mae",
    ),
    "no-weights": (lambda f: (f / "model.safetensors").unlink(), {}, "can't be built"),
    "lacking": (_lose_a_layer, {}, "it lacks 2 of its weights, such as vit."),
    "damaged": (lambda f: (f / "model.safetensors").write_bytes(b"no"), {}, "can't be built"),
    "argument": (
        lambda f: None,
        {"arguments": {"hidden_dropout_pro": 0.1}},
        "no setting of {folder!r}: expected an entry of its config.json. Did you mean"
        " 'hidden_dropout_prob'",
    ),
    "code": (lambda f: None, {"arguments": {"auto_map": {}}}, "'auto_map' is no setting"),
    "drop-path": (lambda f: None, {"drop_path": 0.1}, "'drop_path_rate' is no setting"),
    "size": (lambda f: None, {"image_size": 64}, "keep their own, and {folder!r} has 32 x 32"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_folders_and_options(hf_vit: Path, tmp_path: Path, name: str) -> None:
    change, options, sentence = WRONG[name]
    folder = Path(shutil.copytree(hf_vit, tmp_path / "vit"))
    change(folder)
    with pytest.raises(UserError) as caught:
        build_backbone(str(folder), num_classes=5, **options)
    assert sentence.format(folder=str(folder)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_processor_the_vtab_preset_still_works(hf_vit: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hf_vit, tmp_path / "vit"))
    (folder / "preprocessor_config.json").unlink()
    built = build_backbone(str(folder), num_classes=5)
    size, config = built.input_size, built.data_config
    assert resolve_preset("vtab", input_size=size, data_config=config).size == (32, 32)
    for preset in ("model", "vtab-model"):
        with pytest.raises(UserError, match=r"has no image processor .* --data.preset vtab"):
            resolve_preset(preset, input_size=size, data_config=config)

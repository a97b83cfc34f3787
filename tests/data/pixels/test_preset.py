import json
from typing import Any

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from arcvit.core.errors import UserError
from arcvit.data.pixels.augment import ToInput
from arcvit.data.pixels.decode import to_array
from arcvit.data.pixels.preset import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PRESETS,
    Preprocessing,
    center_start,
    resolve_preset,
    training_preprocessing,
)

CONFIG: dict[str, Any] = {
    "input_size": (3, 224, 224),
    "interpolation": "bicubic",
    "mean": (0.5, 0.4, 0.3),
    "std": (0.5, 0.6, 0.7),
    "crop_pct": 0.9,
    "crop_mode": "center",
}
SQUASH: dict[str, Any] = {
    "size": (32, 32),
    "resize": "squash",
    "resize_size": 32,
    "interpolation": "bicubic",
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
}


def resolve(name: str, size: int = 224, **config: Any) -> Preprocessing:
    return resolve_preset(name, input_size=(size, size), data_config={**CONFIG, **config})


def noise(height: int, width: int) -> Image.Image:
    values = np.random.default_rng(height + width).integers(0, 256, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


def to_input(image: Image.Image, prep: Preprocessing) -> Tensor:
    return ToInput.of(prep).eval()(to_array(image, prep)[None])[0]


def test_names() -> None:
    assert list(PRESETS) == ["vtab", "vtab-raw", "vtab-model", "fgvc", "model"]
    for name in PRESETS:
        assert resolve(name).size == (224, 224)


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("vtab", IMAGENET_MEAN, IMAGENET_STD),
        ("vtab-raw", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        ("vtab-model", CONFIG["mean"], CONFIG["std"]),
    ],
)
def test_vtab_presets(name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    # Bicubic even where the backbone's own config says otherwise.
    prep = resolve(name, 96, interpolation="bilinear")
    assert (prep.resize, prep.interpolation, prep.size) == ("squash", "bicubic", (96, 96))
    assert (prep.mean, prep.std) == (mean, std)
    assert not prep.random_crop and not prep.flip


@pytest.mark.parametrize(("size", "resize_size"), [(224, 256), (448, 512), (112, 128), (32, 36)])
def test_fgvc_preset(size: int, resize_size: int) -> None:
    prep = resolve("fgvc", size)
    assert prep == Preprocessing(
        size=(size, size),
        resize="shortest",
        resize_size=resize_size,
        interpolation="bilinear",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        random_crop=True,
        flip=True,
    )
    assert prep.stored == (resize_size, resize_size)


IMAGE_SIZES = [(70, 51), (51, 70), (60, 60), (33, 200), (20, 25), (401, 301)]


@pytest.mark.parametrize(
    ("interpolation", "mode", "crop_pct"),
    [
        ("bicubic", "center", 1.0),
        ("bilinear", "center", 0.9),
        ("bicubic", "center", 0.875),
        ("lanczos", "center", 0.95),
        ("nearest", "center", 1.15),
        ("bicubic", "squash", 1.0),
        ("bilinear", "squash", 0.95),
    ],
)
def test_model_preset_gives_the_pixels_of_timm(
    interpolation: str, mode: str, crop_pct: float
) -> None:
    config = {**CONFIG, "interpolation": interpolation, "crop_mode": mode, "crop_pct": crop_pct}
    config["input_size"] = (3, 48, 48)
    theirs = timm.data.create_transform(**config, is_training=False)
    prep = resolve_preset("model", input_size=(48, 48), data_config=config)
    for image_size in IMAGE_SIZES:
        image = noise(*image_size)
        assert torch.equal(to_input(image, prep), theirs(image))


@pytest.mark.parametrize(("mode", "crop_pct"), [("squash", 1.0), ("center", 1.0), ("center", 0.5)])
def test_model_preset_with_an_input_that_is_not_square(mode: str, crop_pct: float) -> None:
    config = {**CONFIG, "crop_mode": mode, "crop_pct": crop_pct, "input_size": (3, 48, 32)}
    theirs = timm.data.create_transform(**config, is_training=False)
    prep = resolve_preset("model", input_size=(48, 32), data_config=config)
    for image_size in IMAGE_SIZES:
        image = noise(*image_size)
        assert torch.equal(to_input(image, prep), theirs(image))


@pytest.mark.parametrize(
    ("name", "resize"),
    [
        ("vtab", transforms.Resize((224, 224), interpolation=transforms.InterpolationMode.BICUBIC)),
        ("fgvc", transforms.Resize(256)),
    ],
)
def test_benchmark_presets_give_the_pixels_of_the_papers(
    name: str, resize: transforms.Resize
) -> None:
    """The transforms of ARC: VTAB_loader.py and, for the test split, tranforms.py."""
    theirs = transforms.Compose(
        [
            resize,
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    for image_size in IMAGE_SIZES:
        image = noise(*image_size)
        assert torch.equal(to_input(image, resolve(name)), theirs(image))


@pytest.mark.parametrize(
    ("name", "config", "sentence"),
    [
        ("vtb", {}, "no preset 'vtb': expected one of vtab, .*Did you mean 'vtab'"),
        ("model", {"crop_mode": "border"}, "crop_mode 'border' is not supported"),
        ("model", {"interpolation": "random"}, "'interpolation' is 'random': expected 'bilinear'"),
        ("vtab-model", {"mean": (0.5,)}, r"'mean' is \(0.5,\): expected three numbers"),
    ],
)
def test_wrong_presets(name: str, config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        resolve(name, **config)


@pytest.mark.parametrize("name", PRESETS)
def test_round_trip_through_json(name: str) -> None:
    prep = resolve(name)
    assert Preprocessing.from_dict(json.loads(json.dumps(prep.to_dict()))) == prep


def test_defaults_may_be_left_out() -> None:
    assert Preprocessing.from_dict(SQUASH) == Preprocessing(**SQUASH)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"men": 1}, "no key 'men': .*Did you mean 'mean'"),
        ({"size": 32}, "'size' is 32: expected .height, width."),
        ({"size": [32.0, 32.0]}, "'size' is .*expected .height, width."),
        ({"size": [32]}, r"'size' is \(32,\): expected \[height, width\]"),
        ({"size": [0, 32]}, "expected .height, width."),
        ({"resize": "stretch"}, "'resize' is 'stretch': expected 'squash' or"),
        ({"resize": 3}, "'resize' is 3: expected 'squash' or"),
        ({"resize_size": 0}, "'resize_size' is 0: expected a number of pixels"),
        ({"resize_size": "32"}, "'resize_size' is '32': expected a number of pixels"),
        ({"interpolation": "box"}, "'interpolation' is 'box'"),
        ({"mean": [1, 2]}, "'mean' is .*expected three numbers"),
        ({"mean": [0.5, 0.5, "x"]}, "'mean' is .*expected three numbers"),
        ({"std": [1, 1, 0]}, "'std' is .*expected three positive numbers"),
        ({"flip": 1}, "'flip' is 1: expected true or false"),
        ({"random_crop": True}, "'resize' is 'squash': expected 'shortest' or .* with random_crop"),
        (
            {"random_crop": True, "resize": "shortest", "resize_size": 31},
            "'resize_size' is 31: expected at least 32 with random_crop",
        ),
    ],
)
def test_wrong_values(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Preprocessing.from_dict({**SQUASH, **change})


def test_missing_keys_are_all_named() -> None:
    with pytest.raises(UserError, match=r"lacks the key\(s\) resize_size, mean"):
        Preprocessing.from_dict(
            {k: v for k, v in SQUASH.items() if k not in ("mean", "resize_size")}
        )


@pytest.mark.parametrize("crop", [4, 5])
def test_center_start_is_that_of_torchvision(crop: int) -> None:
    for length in range(1, 12):
        image = torch.arange(1, length + 1)[None, None, :]
        theirs = transforms.functional.center_crop(image, [1, crop])[0, 0]
        start = center_start(length, crop)
        ours = [i + 1 if 0 <= i < length else 0 for i in range(start, start + crop)]
        assert theirs.tolist() == ours, length


@pytest.mark.parametrize(
    ("preset", "augment", "random_crop", "flip"),
    [
        ("model", "preset", True, True),
        ("fgvc", "preset", True, True),
        ("vtab", "preset", False, False),
        ("vtab-raw", "preset", False, False),
        ("model", "none", False, False),
        ("fgvc", "none", False, False),
        ("vtab", "flip", False, True),
        ("vtab", "crop-flip", True, True),
    ],
)
def test_training_images_are_augmented_as_asked(preset, augment, random_crop, flip) -> None:
    config = {
        "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "crop_pct": 1.0,
        "crop_mode": "squash",
    }  # fmt: skip
    prep = resolve_preset(preset, input_size=(64, 64), data_config=config)
    training = training_preprocessing(prep, preset=preset, augment=augment)
    assert (training.random_crop, training.flip) == (random_crop, flip)
    assert (training.size, training.mean, training.std) == (prep.size, prep.mean, prep.std)
    assert training.stored == ((73, 73) if random_crop else (64, 64))

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image

from arcvit.core.errors import UserError
from arcvit.data.pixels.augment import ToInput
from arcvit.data.pixels.decode import to_array
from arcvit.data.pixels.preset import PRESETS, resolve_preset
from arcvit.data.pixels.rgb import read_rgb
from arcvit.export.timm_folder import timm_data_config
from arcvit.recipe.load import load_run
from arcvit.recipe.merge import merge_run

# Sizes where size / (size / resize) is a little less than resize.
EDGES = [(32, 32), (224, 256), (14, 25), (23, 41), (64, 71), (224, 248), (448, 511)]


@pytest.mark.parametrize("mode", ["shortest", "squash", "squash-crop"])
def test_timm_resizes_to_the_same_edge(mode: str) -> None:
    for size, resize in EDGES:
        assert_same_edge(size, resize, mode)


def assert_same_edge(size: int, resize: int, mode: str) -> None:
    config = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    prep = dataclasses.replace(
        resolve_preset(
            "model",
            input_size=(size, size),
            data_config={**config, "crop_pct": 1, "crop_mode": "center"},
        ),
        resize=mode,  # type: ignore[arg-type]
        resize_size=size if mode == "squash" else resize,
    )
    again = resolve_preset("model", input_size=(size, size), data_config=timm_data_config(prep))
    if mode == "squash-crop" and size == resize:
        mode = "squash"
    assert (again.resize, again.resize_size) == (mode, prep.resize_size)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_plain_timm_prepares_a_photo_alike(
    arcvit: Callable[..., object],
    short_run: tuple[str, ...],
    photos: Path,
    tmp_path: Path,
    preset: str,
) -> None:
    flags = ("--method=linear", f"--data.preset={preset}", "--engine.epochs=1")
    assert arcvit("train", *short_run, *flags, f"--out={tmp_path / 'run'}").code == 0  # type: ignore[attr-defined]
    run = load_run(tmp_path / "run")
    merge_run(run, tmp_path / "m")
    plain = timm.create_model(f"local-dir:{tmp_path / 'm'}", pretrained=True)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(plain))
    photo = photos / "test" / "red" / "red_00.png"
    ours = ToInput.of(run.preprocessing).eval()(to_array(read_rgb(photo), run.preprocessing)[None])[
        0
    ]
    theirs = transform(Image.open(photo))
    torch.testing.assert_close(theirs, ours)


def test_the_target_is_taken(trained: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "m.json").touch()
    with pytest.raises(UserError, match=r"m\.json' is there already: choose another --out"):
        merge_run(load_run(trained("arc")), tmp_path / "m.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


def test_another_ending_is_refused(trained: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected NAME\.safetensors, or a folder"):
        merge_run(load_run(trained("arc")), tmp_path / "m.pth")
    assert not list(tmp_path.iterdir())

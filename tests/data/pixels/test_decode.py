import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from arcvit.core.errors import UserError
from arcvit.data.pixels.decode import UnreadableImages, decode_into, to_array
from arcvit.data.pixels.preset import Preprocessing
from arcvit.data.pixels.rgb import read_rgb

Paint = Callable[..., Path]


def prep(size: int = 8, **changes: object) -> Preprocessing:
    values = {
        "size": (size, size),
        "resize": "squash",
        "resize_size": size,
        "interpolation": "bicubic",
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        **changes,
    }
    return Preprocessing.from_dict(values)


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("RGB", "a.png"),
        ("L", "a.png"),
        ("1", "a.png"),
        ("P", "a.png"),
        ("P", "a.gif"),
        ("RGBA", "a.png"),
        ("LA", "a.png"),
        ("CMYK", "a.jpg"),
        ("RGB", "a.jpg"),
        ("L", "a.jpg"),
        ("RGB", "a.bmp"),
        ("RGB", "a.webp"),
        ("CMYK", "a.tif"),
        ("RGB", "a.ppm"),
    ],
)
def test_follows_convert_rgb(paint: Paint, mode: str, name: str) -> None:
    path = paint(name, mode=mode)
    image = read_rgb(path)
    with Image.open(path) as theirs:
        assert np.array_equal(np.asarray(image), np.asarray(theirs.convert("RGB")))
    assert image.mode == "RGB"


@pytest.mark.parametrize("transparency", [0, bytes([0, 128, 255])])
def test_transparency_is_dropped_without_a_warning(
    tmp_path: Path, transparency: int | bytes
) -> None:
    path = tmp_path / "a.png"
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8))
    image = image.convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(path, transparency=transparency)
    assert np.asarray(read_rgb(path)).tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "big.tif", "a.pgm"])
def test_grey_of_16_bits_is_scaled(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    if name == "a.pgm":
        path.write_bytes(b"P5 5 1 65535\n" + values.astype(">u2").tobytes())
    elif name == "big.tif":
        Image.frombytes("I;16B", (5, 1), values.astype(">u2").tobytes()).save(path)
    else:
        Image.fromarray(values).save(path)
    assert np.asarray(read_rgb(path))[0, :, 0].tolist() == [0, 1, 1, 128, 255]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_32_bits_are_refused(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.zeros((2, 2), dtype=kind)).save(path)
    with pytest.raises(ValueError, match="32 bits"):
        read_rgb(path)


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.asarray(read_rgb(tmp_path / "a.gif"))[0, 0].tolist() == [255, 0, 0]


def test_to_array_shapes() -> None:
    image = Image.new("RGB", (30, 20), (1, 2, 3))
    array = to_array(image, prep(8))
    assert (array.shape, array.dtype, array.is_contiguous()) == ((3, 8, 8), torch.uint8, True)
    assert array[:, 0, 0].tolist() == [1, 2, 3]
    assert to_array(image, prep(8, resize="shortest", resize_size=12)).shape == (3, 8, 8)
    kept = prep(8, resize="shortest", resize_size=12, random_crop=True)
    assert to_array(image, kept).shape == (3, 12, 12)


def test_squash_ignores_resize_size() -> None:
    image = Image.effect_noise((30, 20), 50).convert("RGB")
    assert torch.equal(to_array(image, prep(8)), to_array(image, prep(8, resize_size=99)))


def test_the_order_is_kept(paint: Paint) -> None:
    paths = [paint(f"{i}.png", size=(9 + i, 12), seed=i) for i in range(20)]
    images = torch.empty((20, 3, 8, 8), dtype=torch.uint8)
    assert decode_into(images, paths, prep(), workers=3) == {}
    for path, image in zip(paths, images, strict=True):
        assert torch.equal(image, to_array(read_rgb(path), prep()))


def break_files(paint: Paint, folder: Path) -> dict[Path, str]:
    """Files that can't be decoded, each with what the reason should say."""
    jpeg = paint("whole.jpg", size=(64, 64)).read_bytes()
    png = paint("whole.png", size=(64, 64)).read_bytes()
    contents = {
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cut.png": (png[: len(png) // 2], ""),
        "head.png": (png[:20], ""),
        "empty.jpg": (b"", "empty file"),
        "text.jpg": (b"hello", "not an image"),
        # Pillow would start Ghostscript for it.
        "eps.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EOF\n", "not an image"),
        "photo.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "pip install 'arcvit[heic]'"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    (folder / "dir.jpg").mkdir()
    reasons = {folder / name: reason for name, (_, reason) in contents.items()}
    return {**reasons, folder / "dir.jpg": "directory", folder / "gone.jpg": "no such file"}


def test_all_unreadable_files_are_listed(paint: Paint, tmp_path: Path) -> None:
    reasons = break_files(paint, tmp_path)
    paths = [tmp_path / "whole.jpg", *reasons, tmp_path / "whole.png"]
    found = decode_into(torch.empty((11, 3, 8, 8), dtype=torch.uint8), paths, prep())
    error = UnreadableImages([(paths[row], reason) for row, reason in found.items()])
    assert isinstance(error, UserError)
    assert error.paths == tuple(reasons)
    assert str(error).startswith("9 image(s) can't be read")
    for path, reason in error.bad:
        assert reason and reasons[path] in reason.lower()
        assert f"{path} ({reason})" in str(error)


def test_the_sentence_names_twenty() -> None:
    error = UnreadableImages([(Path(f"{i:02d}.jpg"), "empty file") for i in range(25)])
    assert len(error.paths) == 25
    assert str(error).endswith("19.jpg (empty file) and 5 more.")


def test_the_error_can_be_pickled() -> None:
    error = UnreadableImages([(Path("a.jpg"), "empty file")])
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.bad) == (str(error), error.bad)

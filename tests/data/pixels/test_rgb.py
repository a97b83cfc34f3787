"""What of a file becomes pixels: which way up, in which range, how many, of which page."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from arcvit.data.pixels.decode import to_array
from arcvit.data.pixels.grey import grey_peaks, grey_range
from arcvit.data.pixels.preset import Decoding, Preprocessing, orientation_of
from arcvit.data.pixels.rgb import read_rgb, why_unreadable

UPRIGHT = Decoding(orientation="upright")


def quarters() -> Image.Image:
    """Four colours, one in each corner, higher than wide: no turn leaves it as it is."""
    pixels = np.zeros((48, 32, 3), np.uint8)
    pixels[:24, :16], pixels[:24, 16:] = (255, 0, 0), (0, 255, 0)
    pixels[24:, :16], pixels[24:, 16:] = (0, 0, 255), (255, 255, 255)
    return Image.fromarray(pixels)


def near(one: Image.Image, other: Image.Image) -> bool:
    if one.size != other.size:
        return False
    difference = np.asarray(one, np.int16) - np.asarray(other, np.int16)
    return bool(np.abs(difference).mean() < 8)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    quarters().save(path, exif=exif, quality=95, lossless=True)
    assert near(read_rgb(path), quarters())
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    assert near(read_rgb(path, UPRIGHT), upright)
    assert near(upright, quarters()) is (orientation == 1)


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_there_is_not(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    quarters().save(tmp_path / "a.png", exif=exif)
    assert near(read_rgb(tmp_path / "a.png", UPRIGHT), quarters())


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # as the command line does
def test_broken_exif_leaves_the_image_as_it_is(tmp_path: Path) -> None:
    quarters().save(tmp_path / "a.jpg", quality=95, exif=b"Exif\0\0II*\0broken")
    assert near(read_rgb(tmp_path / "a.jpg", UPRIGHT), quarters())


@pytest.mark.parametrize(
    ("preset", "asked", "orientation"),
    [
        ("model", "preset", "upright"),
        ("fgvc", "preset", "stored"),
        ("vtab", "preset", "stored"),
        ("vtab-model", "preset", "stored"),
        ("model", "stored", "stored"),
        ("vtab", "upright", "upright"),
    ],
)
def test_who_decides_the_orientation(preset: str, asked: str, orientation: str) -> None:
    assert orientation_of(preset, asked) == orientation


@pytest.mark.parametrize(
    ("most", "white"),
    [(1, 1), (200, 255), (1000, 1023), (4080, 4095), (4096, 8191), (65535, 65535)],
)
def test_the_range_of_grey_values(tmp_path: Path, most: int, white: int) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.tif", tmp_path / "colour.png", tmp_path / "gone.png"]
    Image.fromarray(np.array([[0, most]], np.uint16)).save(paths[0])
    Image.fromarray(np.array([[0, most // 2]], np.uint16)).save(paths[1])
    quarters().save(paths[2])
    peaks = grey_peaks(paths, Decoding())
    assert peaks == [most, most // 2, None, None]
    assert grey_range(peaks) == white
    how = Decoding(grey_max=white)
    assert np.asarray(read_rgb(paths[0], how))[0, 1, 0] == round(255 * most / white)
    # Brighter than all that was trained on: white, and not dark again.
    Image.fromarray(np.array([[65535]], np.uint16)).save(paths[0])
    assert np.asarray(read_rgb(paths[0], how))[0, 0, 0] == 255


def test_without_grey_images_of_16_bits_there_is_no_range() -> None:
    assert grey_range([]) == grey_range([None, 0]) == 65535


def signed() -> bytes:
    """A TIFF of two signed pixels of 16 bits, by its tags."""
    tags = [
        *((256, 4, 2), (257, 4, 1), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 134)),
        *((277, 3, 1), (278, 4, 1), (279, 4, 4), (339, 3, 2)),
    ]
    head = b"II*\0" + (8).to_bytes(4, "little") + len(tags).to_bytes(2, "little")
    for tag, kind, value in tags:
        head += tag.to_bytes(2, "little") + kind.to_bytes(2, "little")
        head += (1).to_bytes(4, "little") + value.to_bytes(4, "little")
    head += bytes(4)
    return head + bytes(134 - len(head)) + np.array([-5, 7], "<i2").tobytes()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("signed", "signed pixels of 16 bits, save it as unsigned grey of 8 or 16"),
        ("float", "floating-point pixels of 32 bits, save"),
        ("whole", "pixels of 32 bits, save"),
    ],
)
def test_pixels_of_unknown_range(tmp_path: Path, kind: str, sentence: str) -> None:
    path = tmp_path / "a.tif"
    if kind == "signed":
        path.write_bytes(signed())
    else:
        Image.fromarray(np.zeros((2, 2), np.float32 if kind == "float" else np.int32)).save(path)
    assert sentence in (why_unreadable(path, lambda image: None) or "")


def test_of_a_tiff_the_largest_page_counts(tmp_path: Path) -> None:
    thumbnail = Image.new("RGB", (8, 8))
    pages = [quarters(), Image.new("RGB", (48, 32))]  # the first of the large ones
    thumbnail.save(tmp_path / "a.tif", save_all=True, append_images=pages)
    assert near(read_rgb(tmp_path / "a.tif"), quarters())


def test_the_number_of_pixels_is_bounded_in_the_file(tmp_path: Path) -> None:
    quarters().save(tmp_path / "a.png")
    reason = why_unreadable(tmp_path / "a.png", lambda image: None, Decoding(max_pixels=1535))
    assert reason == "32 x 48 pixels are more than --data.max_pixels, 1,535"
    assert why_unreadable(tmp_path / "a.png", lambda image: None, Decoding(max_pixels=1536)) is None


@pytest.mark.parametrize(
    ("most", "sentence"), [(10**6, "--data.max_pixels, 1,000,000"), (None, "")]
)
def test_pillows_own_limit_is_not_met(
    tmp_path: Path, most: int | None, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Above twice Pillow's limit it raises, above the limit it warns, and warnings are errors here.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600_000)
    Image.new("L", (1200, 1000)).save(tmp_path / "a.png")
    how = Decoding() if most is None else Decoding(max_pixels=most)
    assert sentence in (why_unreadable(tmp_path / "a.png", lambda image: None, how) or "")
    assert Image.MAX_IMAGE_PIXELS == 600_000


def test_the_number_of_pixels_is_bounded_after_the_resize() -> None:
    prep = Preprocessing(
        size=(64, 64),
        resize="shortest",
        resize_size=64,
        interpolation="bicubic",
        mean=(0, 0, 0),
        std=(1, 1, 1),
        max_pixels=100_000,
    )
    assert to_array(Image.new("RGB", (20, 1)), prep).shape == (3, 64, 64)
    with pytest.raises(ValueError, match="1,000 x 1 pixels become 64,000 x 64, more than"):
        to_array(Image.new("RGB", (1000, 1)), prep)


@pytest.mark.skipif("AVIF" not in Image.registered_extensions().values(), reason="Pillow of old")
def test_avif(tmp_path: Path) -> None:
    quarters().save(tmp_path / "a.avif", quality=95)
    assert near(read_rgb(tmp_path / "a.avif"), quarters())

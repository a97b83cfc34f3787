"""What a check says of what images show: each kind on a sound task of noise."""

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcvit.data.check.report import TaskReport, check_task

KINDS = (
    "blank-images",
    "rotated-images",
    "grey-range",
    "deep-colour",
    "near-duplicates",
    "majority",
)


def said(report: TaskReport) -> dict[str, str]:
    return {f.kind: f"{f.severity}: {f.text}" for f in report.findings if f.kind in KINDS}


def blank(file: Path, value: int = 0) -> None:
    Image.new("RGB", (32, 32), (value, value, value)).save(file)


def in_alpha(file: Path) -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[..., 3] = np.random.default_rng(0).integers(0, 256, (32, 32))
    Image.fromarray(pixels, "RGBA").save(file)


def rotated(file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(file) as image:
        image.copy().save(file, exif=exif)


def grey(file: Path, most: int) -> None:
    values = np.random.default_rng(most).integers(0, most + 1, (32, 32))
    values[0, 0] = most
    Image.fromarray(values.astype(np.uint16)).save(file)


def deep(file: Path) -> None:
    """Write a colour PNG of 16 bits, which Pillow only reads."""
    rows = b"".join(b"\0" + np.random.default_rng(i).bytes(32 * 6) for i in range(32))

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    head = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def alike(root: Path) -> None:
    """A test photo, smaller and lighter than one in train."""
    pixels = np.random.default_rng(7).integers(0, 200, (6, 6, 3)).astype(np.uint8)
    photo = Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC)
    photo.save(root / "train/a/0.png")
    photo.resize((64, 64)).point(lambda value: value + 20).save(root / "test/a/0.jpg", quality=85)


def make_rare(root: Path) -> None:
    for name in ("b", "c"):
        for file in sorted((root / "train" / name).iterdir())[1:]:
            file.unlink()
    draws = np.random.default_rng(9)
    for index in range(30):
        pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"train/a/more{index}.png")


CASES: dict[str, tuple[Callable[[Path], object], str, tuple[str, ...]]] = {
    "black": (
        lambda root: blank(root / "train/a/0.png"),
        "blank-images",
        ("warning: 1 of 18 images are blank", "train/a/0.png (all black)"),
    ),
    "one grey": (
        lambda root: blank(root / "test/a/0.png", 200),
        "blank-images",
        ("warning", "test/a/0.png (of one colour)"),
    ),
    "alpha": (
        lambda root: [in_alpha(file) for file in (root / "train/b").iterdir()],
        "blank-images",
        ("spoils: 3 of 18", "all in the transparency", "Nothing else is in the class(es) b"),
    ),
    "rotated": (
        lambda root: rotated(root / "train/a/0.png"),
        "rotated-images",
        ("note: 1 of 18 images are rotated", "turned upright (preset model)"),
    ),
    "grey": (
        lambda root: [grey(file, 1000) for file in root.rglob("*.png")],
        "grey-range",
        ("note: 18 grey images of 16 bits have values up to 1,000: 0 to 1,023 is read",),
    ),
    "brighter tests": (
        lambda root: [
            grey(file, 4000 if "test" in file.parts else 1000) for file in root.rglob("*.png")
        ],
        "grey-range",
        ("warning: 18 grey images", "up to 4,000: 0 to 1,023 is read"),
    ),
    "deep colour": (
        lambda root: deep(root / "train/a/0.png"),
        "deep-colour",
        ("warning: 1 colour images have 16 bits, of which the high 8 are read",),
    ),
    "nearly the same": (
        alike,
        "near-duplicates",
        ("warning: 1 image(s) of test are nearly", "train/a/0.png ~ test/a/0.jpg", "group_pattern"),
    ),
    "a class of nearly all": (
        make_rare,
        "majority",
        ("warning: 94% of train is of the class a", "balanced accuracy"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_said(folders: Path, case: str) -> None:
    change, kind, parts = CASES[case]
    assert said(check_task(folders)) == {}
    change(folders)
    found = said(check_task(folders))
    assert list(found) == [kind]
    assert all(part in found[kind] for part in parts), found[kind]


def test_benchmarks_are_read_as_stored(folders: Path) -> None:
    rotated(folders / "train/a/0.png")
    for data, part in (
        ({"preset": "fgvc"}, "warning: 1 of 18 images are rotated"),
        ({"orientation": "stored"}, "read as stored (preset model)"),
        ({"preset": "fgvc", "orientation": "upright"}, "turned upright (preset fgvc)"),
    ):
        assert part in said(check_task(folders, data=data))["rotated-images"]


def test_grey_images_that_differ_in_low_bits_are_not_the_same(folders: Path) -> None:
    for index, file in enumerate(sorted(folders.rglob("*.png"))):
        Image.fromarray(np.full((8, 8), 10 + index, np.uint16) + np.eye(8, dtype=np.uint16)).save(
            file
        )
    kinds = {finding.kind for finding in check_task(folders).findings}
    assert not kinds & {"overlap", "conflicting-labels", "overlap-val"}


def test_photos_of_a_group_may_be_alike_in_a_split(folders: Path) -> None:
    shutil.copy(folders / "train/a/0.png", folders / "train/a/again.png")
    assert said(check_task(folders)) == {}


def test_too_many_pixels(folders: Path) -> None:
    report = check_task(folders, data={"max_pixels": 500})
    text = next(f.text for f in report.findings if f.kind == "unreadable-files")
    assert "32 x 32 pixels are more than --data.max_pixels, 500" in text

"""Decode one image file to RGB, or say why it can't be. No torch: the command line uses this."""

import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from arcvit.core.errors import UserError
from arcvit.core.extras import require
from arcvit.data.pixels.preset import Decoding

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""What is read, whatever a file is called: Pillow would start other programs for some formats."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_ORIENTATION = 0x0112
_AT_ONCE = 1024
_PAGES = 32
"""As many pages of a TIFF are looked at."""
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image upright, by its EXIF orientation."""


Item = TypeVar("Item")
Result = TypeVar("Result")


def read_rgb(path: str | Path | BinaryIO, how: Decoding | None = None) -> Image.Image:
    """Decode an image file, or an open one, to RGB, completely.

    Follows ``Image.open(path).convert("RGB")``, as torchvision and timm do: transparency is dropped
    and not blended, and of an animation the first frame counts. Deviations: grey images of 16 bits
    are scaled to 8 bits, where Pillow would turn every value above 255 white; the EXIF orientation
    is applied where it is asked for (to TIFFs Pillow always applies it); and of a TIFF of several
    pages the largest of the first 32 counts, as the first may be a thumbnail.

    Raises:
        OSError: the file is missing, truncated or not an image. Pillow raises others too, such as
            ``SyntaxError`` for a broken PNG.
        ValueError: more pixels than allowed, or pixels whose range isn't known.
    """
    how = how or Decoding()
    with opened(path, how) as image:
        return to_rgb(image, how)


@contextmanager
def opened(path: str | Path | BinaryIO, how: Decoding) -> Iterator[Image.Image]:
    """An image file whose header is read, and whose pixels are not.

    Raises:
        OSError: the file is missing or not an image.
        ValueError: it has more pixels than allowed.
    """
    if isinstance(path, (str, Path)) and _is_endless(Path(path)):
        raise OSError("a pipe or a device: expected a file")
    with _own_limit, Image.open(path, formats=_known_formats()) as image:
        if image.format == "TIFF":
            image.seek(_largest_page(image))
        if image.width * image.height > how.max_pixels:
            raise ValueError(
                f"{image.width:,} x {image.height:,} pixels are more than --data.max_pixels,"
                f" {how.max_pixels:,}"
            )
        yield image


def to_rgb(image: Image.Image, how: Decoding) -> Image.Image:
    """The pixels of an opened image, as ``read_rgb`` gives them."""
    image.load()
    # Pillow warns about some kinds of transparency on the way to RGB, where it has no effect.
    image.info.pop("transparency", None)
    turn = _TURN.get(orientation(image)) if how.orientation == "upright" else None
    grey = grey_of_16_bits(image)
    if grey is not None:
        scaled = np.minimum(grey.astype(np.float32) * (255 / how.grey_max), 255)
        image = Image.fromarray(np.rint(scaled).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"{_kind_of_wide(image)}, save it as unsigned grey of 8 or 16 bits")
    rgb = image.convert("RGB")
    return rgb if turn is None else rgb.transpose(turn)


def grey_of_16_bits(image: Image.Image) -> np.ndarray | None:
    """The values of a loaded grey image of 16 bits, (H, W); None of any other."""
    # Pillow opens a PGM of 16 bits as 32 bits with the values of 16.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return np.asarray(image)
    return None


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of a loaded image, 1 to 8; 1 where there is none, or a broken one."""
    try:
        found = image.getexif().get(_ORIENTATION)
        return found if found in _TURN else 1
    # Broken EXIF is common, and the pixels are whole; Pillow raises nearly anything.
    except Exception:
        return 1


def why_unreadable(
    path: Path, use: Callable[[Image.Image], None], how: Decoding | None = None
) -> str | None:
    """Decode a file and use the image; the reason where that isn't possible, else None."""
    return reason_of_failure(path, lambda: use(read_rgb(path, how)))


def reason_of_failure(path: Path | BinaryIO, read: Callable[[], None]) -> str | None:
    """Read an image file in some way; the reason where that isn't possible, else None.

    Args:
        path: the file, or an open one.
        read: reads it.
    """
    try:
        read()
    except MemoryError:
        raise
    # A broken file can make Pillow's many decoders raise nearly anything.
    except Exception as error:
        return _reason(path, error)
    return None


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_threads(
    do: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None
) -> Iterator[Result]:
    """What comes of each item, in order, from a pool of threads; None takes one a core.

    Pillow works outside Python's global lock. What waits takes 2 KB, so not all do at once.
    """
    with ThreadPoolExecutor(workers or cores()) as pool:
        for start in range(0, len(items), _AT_ONCE):
            yield from pool.map(do, items[start : start + _AT_ONCE])


class _OwnLimit:
    """Pillow's own limit of pixels, which is one for the whole process, off while we are reading.

    It warns below what we may be told to read, and calls what is above it an attack.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._limit: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._readers == 0:
                # Not None: a thread that crops looks twice, and would multiply what it was told.
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, sys.maxsize
            self._readers += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                Image.MAX_IMAGE_PIXELS = self._limit


_own_limit = _OwnLimit()


@cache
def _known_formats() -> list[str]:
    Image.init()
    if importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()
    return [name for name in _FORMATS if name in Image.OPEN]


def _is_endless(path: Path) -> bool:
    """Whether a path is a pipe, for whose content one would wait, or a device."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _largest_page(image: Image.Image) -> int:
    """The largest of the first pages: to count them all takes seconds where there are thousands."""
    areas = [image.width * image.height]
    with suppress(EOFError):
        for page in range(1, _PAGES):
            image.seek(page)
            areas.append(image.width * image.height)
    return areas.index(max(areas))


def _kind_of_wide(image: Image.Image) -> str:
    """What the pixels are that have more than 8 bits and no known range."""
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        return "floating-point pixels of 32 bits"
    if tags.get(258) == (16,) and tags.get(339) == (2,):  # BitsPerSample, SampleFormat
        return "signed pixels of 16 bits"
    return "pixels of 32 bits"


def _reason(path: Path | BinaryIO, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if not isinstance(error, UnidentifiedImageError):
        return str(error) or type(error).__name__
    if isinstance(path, Path):
        with path.open("rb") as file:
            start = file.read(12)
    else:
        path.seek(0)
        start = path.read(12)
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS:
        try:
            require("heic", "HEIC")
        except UserError as missing:
            return str(missing).rstrip(".")
    if start[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF needs Pillow 11.3 or later"
    return "not an image of a format that is read" if start else "empty file"

"""Images as they are given: files, folders, patterns, PIL images and arrays; and their pixels."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from arcvit.core.errors import UserError
from arcvit.data.pixels.decode import blank_rows, to_array
from arcvit.data.pixels.preset import Preprocessing
from arcvit.data.pixels.rgb import in_threads, read_rgb, reason_of_failure, to_rgb
from arcvit.data.readers.folders import image_files
from arcvit.data.readers.reader import Opening

Given: TypeAlias = str | Path | Image.Image | np.ndarray
"""A file, a folder, a pattern, a PIL image, or an array ``uint8`` (H, W, 3) or (H, W)."""


class Nothing(NamedTuple):
    """A folder or a pattern in which there is no image."""

    path: Path


Single: TypeAlias = Path | Image.Image | Nothing
"""One image: a file or a picture in memory, or that there is none."""

_EXPECTED = "expected paths, PIL images or arrays of uint8, (height, width, 3) or grey"


def one_by_one(images: Given | Iterable[Given]) -> Iterator[Single]:
    """Each image of what was given, as it is asked for.

    A folder gives what a class folder would when training: all but notes, tables and hidden files.
    A file that isn't there is given as it is, and told of with those that can't be read.

    Raises:
        UserError: something that is no image was given, or a folder can't be listed.
    """
    if isinstance(images, (str, Path, Image.Image)) or _is_one_array(images):
        images = cast(Iterable[Given], [images])
    if not isinstance(images, Iterable):
        raise UserError(f"an image is {type(images).__name__}: {_EXPECTED}.")
    for image in images:
        if isinstance(image, (str, Path)):
            files = _files(str(image))
            yield from files or (Nothing(Path(image)),)
        elif isinstance(image, Image.Image):
            yield image
        else:
            yield _from_array(image)


def file_of(image: Single) -> Path | None:
    """The file an image comes from, where it is known."""
    if isinstance(image, Path):
        return image
    if isinstance(image, Nothing):
        return image.path
    name = getattr(image, "filename", "")
    return Path(name) if name else None


def read(images: Sequence[Single], prep: Preprocessing) -> tuple[Tensor, dict[int, str], set[int]]:
    """Decode images in threads, each to the size that is kept.

    Returns:
        ``uint8`` (N, 3, *prep.stored); for each row that can't be read the reason, the row is
        black; the rows on which there is nothing to be seen.
    """
    pixels = torch.zeros((len(images), 3, *prep.stored), dtype=torch.uint8)

    def decode(row: int) -> str | None:
        image = images[row]

        if isinstance(image, Nothing):
            return "there is no image"

        def keep() -> None:
            pixels[row] = to_array(_rgb(image, prep), prep)

        return reason_of_failure(file_of(image) or Path(), keep)

    reasons = enumerate(in_threads(decode, range(len(images))))
    errors = {row: reason for row, reason in reasons if reason is not None}
    return pixels, errors, set(blank_rows(pixels)) - set(errors)


def _rgb(image: Path | Image.Image, prep: Preprocessing) -> Image.Image:
    how = prep.decoding
    if isinstance(image, Path):
        return read_rgb(image, how)
    if image.width * image.height > how.max_pixels:
        raise ValueError(
            f"{image.width:,} x {image.height:,} pixels are more than {how.max_pixels:,}"
        )
    # A copy: reading it takes its notes on transparency away, and another thread may read it too.
    return to_rgb(image.copy(), how)


def _files(name: str) -> list[Path]:
    """The images that a file, a folder or a pattern names."""
    # Not Path.exists, which raises where a name is too long or a folder is closed. What has a zero
    # byte is no name at all, which is told when it is read.
    if not os.path.exists(name) and "\0" not in name and any(sign in name for sign in "*?["):
        found = (image for match in sorted(glob.glob(name, recursive=True)) for image in _at(match))
        return list(dict.fromkeys(found))  # ** names what is in a folder, and the folder
    return _at(name)


def _at(name: str) -> list[Path]:
    path = Path(name)
    return image_files(path, path, Opening()) if os.path.isdir(name) else [path]


def _is_one_array(images: object) -> bool:
    return isinstance(images, np.ndarray) and images.ndim < 4


def _from_array(array: Any) -> Image.Image:
    if not isinstance(array, np.ndarray):
        raise UserError(f"an image is {type(array).__name__}: {_EXPECTED}.")
    if array.dtype != np.uint8:
        raise UserError(
            f"an image is an array of {array.dtype}: {_EXPECTED}; values in [0, 1] become that with"
            " (255 * array).round().astype('uint8')."
        )
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] == 3)):
        raise UserError(f"an image is an array of shape {array.shape}: {_EXPECTED}.")
    return Image.fromarray(np.ascontiguousarray(array))

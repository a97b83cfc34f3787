"""From what a request holds to rows of a batch, in worker threads.

N images, (h, w) the input of the model.
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from arcvit.data.pixels.augment import center_crop
from arcvit.data.pixels.decode import to_array
from arcvit.data.pixels.preset import Decoding, Preprocessing
from arcvit.data.pixels.rgb import read_rgb, reason_of_failure
from arcvit.serve.request import Images

Decoded = dict[Preprocessing, Tensor | str]
"""An image for each preprocessing: ``uint8`` (3, h, w), or why it can't be read."""


def decode(
    images: Images,
    indices: Sequence[int],
    preps: Sequence[Preprocessing],
    cancelled: Callable[[], bool],
) -> list[Decoded]:
    """Decode some images of a request, each once however many preprocessings follow.

    Args:
        images: of the request; not those already preprocessed.
        indices: which of them.
        preps: how they are wanted; none twice.
        cancelled: asked before each image; what is left then stays undone.
    """
    decoded: list[Decoded] = []
    for index in indices:
        if cancelled():
            break
        decoded.append(_decode_one(images, index, preps))
    return decoded


def _decode_one(images: Images, index: int, preps: Sequence[Preprocessing]) -> Decoded:
    pictures: dict[Decoding, Image.Image | str] = {}
    decoded: Decoded = {}
    for prep in preps:
        how = prep.decoding
        if how not in pictures:
            pictures[how] = _picture(images, index, how)
        picture = pictures[how]
        decoded[prep] = picture if isinstance(picture, str) else _fitted(picture, prep)
    return decoded


def _picture(images: Images, index: int, how: Decoding) -> Image.Image | str:
    """The image in RGB, or why it can't be read."""
    if images.pixels is not None:
        pixels = images.pixels[index]
        height, width = pixels.shape[:2]
        if height * width > how.max_pixels:
            return f"{width:,} x {height:,} pixels are more than {how.max_pixels:,}"
        return Image.fromarray(np.ascontiguousarray(pixels))
    assert images.files is not None
    file = io.BytesIO(images.files[index])
    found: list[Image.Image] = []
    reason = reason_of_failure(file, lambda: found.append(read_rgb(file, how)))
    return found[0] if reason is None else _without_option(reason)


def _fitted(picture: Image.Image, prep: Preprocessing) -> Tensor | str:
    found: list[Tensor] = []

    def fit() -> None:
        found.append(center_crop(to_array(picture, prep), prep.size))

    reason = reason_of_failure(io.BytesIO(), fit)
    return found[0] if reason is None else _without_option(reason)


def _without_option(reason: str) -> str:
    """A reason without the name of the option that ``arcvit train`` has for it."""
    return reason.replace(" --data.max_pixels,", "")


def given_inputs(inputs: np.ndarray) -> list[Tensor]:
    """The rows of an array that is already preprocessed, ``float32`` (N, 3, h, w)."""
    return list(torch.from_numpy(np.ascontiguousarray(inputs)).unbind())

"""Preprocessing as data, and the named presets of the benchmarks.

Tools differ in how they resize and normalise, and that moves results as much as the method does. So
every run and every adapter records a ``Preprocessing`` and applies it again at prediction.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from arcvit.core.errors import UserError, nearest

Resize = Literal["squash", "squash-crop", "shortest"]
Interpolation = Literal["bilinear", "bicubic", "lanczos", "nearest"]
Orientation = Literal["stored", "upright"]
CropStart = Literal["rounded", "floored"]
Rgb = tuple[float, float, float]

IMAGENET_MEAN: Rgb = (0.485, 0.456, 0.406)
IMAGENET_STD: Rgb = (0.229, 0.224, 0.225)
MAX_PIXELS = 89_478_485
"""Pillow's own bound: a quarter of a gigabyte in RGB."""
_THREE = "three numbers"

PRESETS: Mapping[str, str] = {
    "vtab": "squashed to the input size, ImageNet mean and std (NOAH, ARC, FacT)",
    "vtab-raw": "squashed to the input size, values in [0, 1] (task_adaptation, OSU study)",
    "vtab-model": "squashed to the input size, the backbone's own mean and std (Adapter+)",
    "fgvc": "short side to 256 for 224, random crop and flip, ImageNet mean and std (VPT, ARC)",
    "model": "the backbone's own resize, crop, mean and std (timm)",
}
"""What each preset does, by name."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How an image file becomes RGB."""

    orientation: Orientation = "stored"
    """``stored``: the pixels as they lie in the file. ``upright``: turned as EXIF says."""
    grey_max: int = 2**16 - 1
    """Value of white in grey images of 16 bits."""
    max_pixels: int = MAX_PIXELS
    """As many pixels may the file hold, and have after the resize."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image file becomes the backbone's input.

    The image is decoded to RGB, resized, cropped to ``size``, scaled to [0, 1] and normalised.

    Raises:
        UserError: a value that is not possible.
    """

    size: tuple[int, int]
    """Height and width of the input, in pixels."""
    resize: Resize
    """``squash``: straight to ``size``. ``shortest``: the proportions are kept. ``squash-crop``:
    to ``resize_size`` without keeping the proportions, as timm's ``crop_mode="squash"`` does where
    ``crop_pct`` is below 1. The last two are cropped to ``size``."""
    resize_size: int
    """Short edge after the resize, in pixels; not used by ``squash``. An input that is not square
    scales the other edge alike. Where it is less than ``size``, black is added around the image."""
    interpolation: Interpolation
    """How the resize interpolates."""
    mean: Rgb
    """Mean of red, green and blue, for values in [0, 1]."""
    std: Rgb
    """Standard deviation of red, green and blue, for values in [0, 1]."""
    random_crop: bool = False
    """Crop at random when training; otherwise, and when predicting, the centre is cropped."""
    flip: bool = False
    """Mirror every second image, drawn at random, when training."""
    orientation: Orientation = "stored"
    """``stored``: the pixels as they lie in the file. ``upright``: turned as EXIF says."""
    grey_max: int = 2**16 - 1
    """Value of white in grey images of 16 bits; those of 12 bits have the range of 4,095."""
    max_pixels: int = MAX_PIXELS
    """As many pixels may the file hold, and have after the resize."""
    crop_start: CropStart = "rounded"
    """Where a centred crop begins that can't be in the middle: at the nearest even pixel, as
    torchvision and timm have it, or always at the lower, as transformers has it."""

    def __post_init__(self) -> None:
        for name, expected in (("size", "[height, width]"), ("mean", _THREE), ("std", _THREE)):
            value = getattr(self, name)
            kinds = (int,) if name == "size" else (int, float)
            right = isinstance(value, tuple) and all(type(item) in kinds for item in value)
            _check(right and len(value) == (2 if name == "size" else 3), name, value, expected)
        _check(min(self.size) >= 1, "size", self.size, "[height, width]")
        _check(min(self.std) > 0, "std", self.std, "three positive numbers")
        named = {"resize": Resize, "interpolation": Interpolation, "orientation": Orientation}
        named["crop_start"] = CropStart
        for name, literal in named.items():
            value, known = getattr(self, name), get_args(literal)
            _check(value in known, name, value, " or ".join(map(repr, known)))
        edge = self.resize_size
        for name in ("resize_size", "grey_max", "max_pixels"):
            value = getattr(self, name)
            expected = "a grey value" if name == "grey_max" else "a number of pixels"
            _check(type(value) is int and value >= 1, name, value, expected)
        for name in ("random_crop", "flip"):
            value = getattr(self, name)
            _check(type(value) is bool, name, value, "true or false")
        for name, (height, width) in {"size": self.size, "resize_size": self.resized}.items():
            most = f"at most {MAX_PIXELS:,} pixels in all"
            _check(height * width <= MAX_PIXELS, name, getattr(self, name), most)
        if self.random_crop:
            kept = "'shortest' or 'squash-crop' with random_crop"
            _check(self.resize != "squash", "resize", self.resize, kept)
            short = min(self.size)
            _check(edge >= short, "resize_size", edge, f"at least {short} with random_crop")

    @property
    def decoding(self) -> Decoding:
        """How the file becomes RGB."""
        return Decoding(
            orientation=self.orientation, grey_max=self.grey_max, max_pixels=self.max_pixels
        )

    @property
    def resized(self) -> tuple[int, int]:
        """Height and width that the image is resized to, or to cover where proportions are kept."""
        if self.resize == "squash":
            return self.size
        short = min(self.size)
        height, width = (edge * self.resize_size // short for edge in self.size)
        return height, width

    @property
    def stored(self) -> tuple[int, int]:
        """Height and width of the decoded image that is kept for training and evaluation.

        With a random crop that is the centre of the resized image. VPT crops from all of it, which
        would keep images of many sizes.
        """
        return self.resized if self.random_crop else self.size

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of ``to_dict``.

        Raises:
            UserError: an unknown or a missing key, or a value of the wrong kind.
        """
        names = [field.name for field in fields(cls)]
        for name in values:
            if name not in names:
                raise UserError(
                    f"Preprocessing has no key '{name}': expected {', '.join(names)}."
                    f"{nearest(name, names)}"
                )
        missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in values]
        if missing:
            raise UserError(f"Preprocessing lacks the key(s) {', '.join(missing)}: add them.")
        lists: dict[str, Any] = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
        return cls(**{**values, **lists})


def orientation_of(preset: str, asked: str = "preset") -> Orientation:
    """How files are turned: benchmarks were measured as stored, one's own photos are upright."""
    if asked != "preset":
        return "upright" if asked == "upright" else "stored"
    return "upright" if preset == "model" else "stored"


def resolve_preset(
    name: str, *, input_size: tuple[int, int], data_config: Mapping[str, Any]
) -> Preprocessing:
    """The preprocessing that a preset means for a backbone.

    Args:
        name: one of ``PRESETS``.
        input_size: height and width of the backbone's input, in pixels.
        data_config: timm's resolved data config: interpolation, mean, std, crop_pct, crop_mode;
            the presets model and vtab-model raise what ``refused`` says.

    Raises:
        UserError: an unknown preset, or a data config that asks for what is not supported.
    """
    short = min(input_size)
    if name in ("model", "vtab-model") and "refused" in data_config:
        raise UserError(data_config["refused"])
    if name == "model":
        return _of_model(input_size, data_config)
    if name == "fgvc":
        return Preprocessing(
            size=input_size,
            resize="shortest",
            resize_size=short * 256 // 224,
            # VPT leaves torchvision's default (src/data/transforms.py).
            interpolation="bilinear",
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            random_crop=True,
            flip=True,
        )
    if name in ("vtab", "vtab-raw", "vtab-model"):
        mean, std = IMAGENET_MEAN, IMAGENET_STD
        if name == "vtab-raw":
            mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        elif name == "vtab-model":
            mean, std = tuple(data_config["mean"]), tuple(data_config["std"])
        return Preprocessing(
            size=input_size,
            resize="squash",
            resize_size=short,
            interpolation="bicubic",
            mean=mean,
            std=std,
        )
    raise UserError(
        f"There is no preset '{name}': expected one of {', '.join(PRESETS)}."
        f"{nearest(name, PRESETS)}"
    )


def training_preprocessing(prep: Preprocessing, *, preset: str, augment: str) -> Preprocessing:
    """The preprocessing of training images: that of the others, with random crops and flips.

    A random crop keeps 7/8 of an edge, as VPT's 224 of 256; the images of an evaluation are
    prepared as the preset says.

    Args:
        prep: what the preset means for the backbone.
        preset: its name.
        augment: ``none``, ``flip``, ``crop-flip``, or ``preset``: crop-flip with ``model`` and
            ``fgvc``, none with the VTAB presets.
    """
    if augment == "preset":
        augment = "crop-flip" if preset in ("model", "fgvc") else "none"
    if augment in ("none", "flip"):
        return replace(prep, random_crop=False, flip=augment == "flip")
    return replace(
        prep,
        resize="shortest" if prep.resize == "shortest" else "squash-crop",
        resize_size=max(min(prep.size) * 8 // 7, prep.resize_size),
        random_crop=True,
        flip=True,
    )


def center_start(length: int, crop: int, how: CropStart = "rounded") -> int:
    """Where a centred crop starts along one edge, negative where it is longer than the edge.

    Unless it is floored the rounding is that of ``torchvision.transforms.functional.center_crop``.
    """
    if how == "floored":
        return (length - crop) // 2
    return round((length - crop) / 2) if length >= crop else -((crop - length) // 2)


def _of_model(size: tuple[int, int], config: Mapping[str, Any]) -> Preprocessing:
    """What ``timm.data.create_transform(..., is_training=False)`` does."""
    mode = config["crop_mode"]
    if mode not in ("center", "squash"):
        raise UserError(
            f"The backbone's crop_mode {mode!r} is not supported by the preset 'model': expected"
            " 'center' or 'squash', choose another preset."
        )
    resize: Resize = "shortest"
    if mode == "squash":
        resize = "squash" if config["crop_pct"] == 1 else "squash-crop"
    return Preprocessing(
        size=size,
        resize=resize,
        resize_size=math.floor(min(size) / config["crop_pct"]),
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        orientation=orientation_of("model"),
        crop_start=config.get("crop_start", "rounded"),
    )


def _check(good: bool, name: str, value: object, expected: str) -> None:
    if not good:
        raise UserError(f"Preprocessing '{name}' is {value!r}: expected {expected}.")

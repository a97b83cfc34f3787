"""What an image processor of transformers does, in the words of timm's data config.

transformers has each processor twice, computing with Pillow and with torchvision, which differ by a
grey level here and there. Pillow's is followed, as everywhere in arcvit.
"""

import math
from collections.abc import Mapping
from typing import Any

from arcvit.backbones.crop_pct import crop_pct
from arcvit.core.errors import UserError

_INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""
_STEPS = ("_preprocess", "resize", "center_crop", "rescale", "normalize")
_OWN_STEPS: Mapping[str, tuple[str, ...]] = {"BeitImageProcessorPil": ("_preprocess",)}
"""Processors whose own steps do the same with images, and something else with other things."""


def data_config_of(processor: Any) -> dict[str, Any]:
    """A processor as timm's data config says it.

    ``crop_start`` is there beside timm's keys: transformers rounds down where a centred crop
    begins, torchvision and timm to the nearest even.

    Args:
        processor: an image processor with Pillow's backend.

    Raises:
        UserError: it does what can't be said so.
    """
    name = type(processor).__name__
    steps = _foreign_steps(processor)
    if steps:
        raise UserError(_refused(name, f"has a {steps[0].strip('_')} of its own"))
    for flag in ("do_resize", "do_rescale"):
        if not getattr(processor, flag, True):
            raise UserError(_refused(name, f"has {flag} off"))
    if getattr(processor, "do_pad", False):
        raise UserError(_refused(name, "pads"))
    if not math.isclose(processor.rescale_factor, 1 / 255, rel_tol=1e-9):
        raise UserError(_refused(name, f"has the rescale_factor {processor.rescale_factor}"))
    interpolation = _INTERPOLATIONS.get(int(processor.resample))
    if interpolation is None:
        raise UserError(_refused(name, f"has the resample {processor.resample}"))
    normalizes = getattr(processor, "do_normalize", True)
    return {
        **_geometry(processor, name),
        "interpolation": interpolation,
        "mean": tuple(processor.image_mean) if normalizes else (0.0, 0.0, 0.0),
        "std": tuple(processor.image_std) if normalizes else (1.0, 1.0, 1.0),
        "crop_start": "floored",
    }


def _geometry(processor: Any, name: str) -> dict[str, Any]:
    """Input size, crop_pct and crop_mode."""
    size = {key: value for key, value in dict(processor.size).items() if value is not None}
    crop = dict(processor.crop_size) if getattr(processor, "do_center_crop", False) else None
    if set(size) == {"height", "width"} and crop in (None, size):
        input_size = (3, size["height"], size["width"])
        return {"input_size": input_size, "crop_pct": 1.0, "crop_mode": "squash"}
    edges = set(size.values())
    if crop is None or len(edges) != 1 or crop["height"] != crop["width"]:
        raise UserError(_refused(name, f"resizes to {size} and crops to {crop or 'nothing'}"))
    (edge,), cropped = edges, crop["height"]
    if set(size) not in ({"shortest_edge"}, {"height", "width"}) or edge < cropped:
        raise UserError(_refused(name, f"resizes to {size} and crops to {crop}"))
    return {
        "input_size": (3, cropped, cropped),
        "crop_pct": crop_pct(cropped, edge),
        "crop_mode": "center" if "shortest_edge" in size else "squash",
    }


def _foreign_steps(processor: Any) -> list[str]:
    from transformers.image_processing_backends import PilBackend

    kind = type(processor)
    if not isinstance(processor, PilBackend):
        return ["way"]
    own = [step for step in _STEPS if getattr(kind, step) is not getattr(PilBackend, step)]
    return [step for step in own if step not in _OWN_STEPS.get(kind.__name__, ())]


def _refused(name: str, does: str) -> str:
    return (
        f"the image processor {name} {does}, which arcvit can't do alike: choose another"
        " preprocessing, as --data.preset vtab."
    )

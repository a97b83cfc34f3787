"""Write a plain model of transformers, and check that it gives the same logits when loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from arcvit.backbones.quiet import quiet_transformers
from arcvit.core.errors import UserError
from arcvit.core.shown import python_text
from arcvit.data.pixels.decode import RESAMPLE
from arcvit.data.pixels.preset import Preprocessing
from arcvit.export.adapted import AdaptedModel, Written, logits_on
from arcvit.export.lost import lost_in_plain_model

_LOADING = """\
from transformers import AutoImageProcessor, pipeline
processor = AutoImageProcessor.from_pretrained({place}, backend="pil")
classify = pipeline("image-classification", model={place}, image_processor=processor)"""
_TORCHVISION = (
    "Left to itself, pipeline() resizes with torchvision where that is installed: its pixels are a"
    " grey level off those of Pillow, which arcvit resizes with."
)
_CROP = (
    "Its processor rounds down where the centre begins that is cut out, the run to the nearest even"
    " pixel: of some photos it gets another row or column of pixels."
)


def is_transformers_model(model: nn.Module) -> bool:
    """Whether a plain model is one of transformers."""
    return any(cls.__module__ == "transformers.modeling_utils" for cls in type(model).__mro__)


def write_transformers(runs: Sequence[AdaptedModel], out: Path) -> Written:
    """Write the folded classifier and its image processor, read them back, and compare.

    Raises:
        UserError: the backbone isn't of transformers, its images are prepared as no processor does,
            the adapter can't be folded, or the logits differ.
    """
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    (run,) = runs
    if not is_transformers_model(run.base):
        raise UserError(
            f"{run.task.backbone.name!r} isn't a model of transformers: expected --format timm,"
            " whose folder pipeline() loads as well."
        )
    settings = _processor_settings(run.preprocessing)
    model: Any = run.folded()
    with quiet_transformers():
        _say_biases(model)
        model.save_pretrained(out)
        _write_processor(out, settings)
        AutoImageProcessor.from_pretrained(out)
        reloaded = AutoModelForImageClassification.from_pretrained(out, dtype=torch.float32)
        logits = logits_on(reloaded, run.images)
    prep = run.preprocessing
    is_shifted = prep.resize != "squash" and prep.crop_start == "rounded"
    return Written(
        difference=run.compare(logits, "the folded model in transformers"),
        loading=lambda place: _LOADING.format(place=python_text(place)),
        notes=(
            *lost_in_plain_model(run.task, prep),
            *((_CROP,) if is_shifted else ()),
            _TORCHVISION,
        ),
    )


def _say_biases(model: Any) -> None:
    """Folding gives layers a bias: a model that was built without must be built with it."""
    biases = [key for key in model.state_dict() if key.endswith(("q_proj.bias", "query.bias"))]
    if biases and getattr(model.config, "qkv_bias", None) is False:
        model.config.qkv_bias = True


def _write_processor(folder: Path, settings: dict[str, Any]) -> None:
    """The processor that resizes, crops and normalises: ViT's where nothing is cropped."""
    from transformers import DeiTImageProcessorPil, ViTImageProcessorPil

    crops = "crop_size" in settings
    made = (DeiTImageProcessorPil if crops else ViTImageProcessorPil)(**settings)
    made.save_pretrained(folder)


def _processor_settings(prep: Preprocessing) -> dict[str, object]:
    """As image processors of transformers have it.

    Raises:
        UserError: they can't do it: they know the short edge of what is to be cut out, not a shape.
    """
    height, width = prep.size
    if prep.resize == "shortest" and height != width:
        raise UserError(
            f"no image processor of transformers covers {prep.resized[0]} x {prep.resized[1]}"
            f" pixels and cuts {height} x {width} out of them, as this run does: expected --format"
            " torch or onnx, whose metadata say how images are prepared."
        )
    squashed = dict(zip(("height", "width"), prep.resized, strict=True))
    settings: dict[str, object] = {
        "size": {"shortest_edge": prep.resize_size} if prep.resize == "shortest" else squashed,
        "resample": int(RESAMPLE[prep.interpolation]),
        "image_mean": list(prep.mean),
        "image_std": list(prep.std),
        "do_convert_rgb": True,
    }
    if prep.resize != "squash":
        settings |= {"do_center_crop": True, "crop_size": {"height": height, "width": width}}
    return settings

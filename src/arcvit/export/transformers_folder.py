"""Write a plain model of transformers, and check that it gives the same logits when loaded."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arcvit.backbones.quiet import quiet_transformers
from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path
from arcvit.export.checked import check_same


def is_transformers_model(model: nn.Module) -> bool:
    """Whether a plain model is one of transformers."""
    return any(cls.__module__ == "transformers.modeling_utils" for cls in type(model).__mro__)


def export_transformers(
    folded: nn.Module, out: Path, *, processor: dict[str, Any], probe: Tensor, expected: Tensor
) -> float:
    """Write a folded classifier and its image processor, read it back, and compare.

    Args:
        folded: the classifier without any adapter in it; its config names the classes.
        out: a folder that isn't there yet; ``from_pretrained`` and ``pipeline`` load it.
        processor: settings of the image processor.
        probe: images to compare on, (B, 3, H, W).
        expected: logits of the adapted model on them, (B, K).

    Returns:
        The largest absolute difference of logits.

    Raises:
        UserError: the target is taken or has a file's name, or the logits differ.
    """
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    if out.suffix in (".safetensors", ".json", ".bin", ".pth"):
        raise UserError(
            f"--out {str(out)!r}: expected a folder, which is how transformers keeps a model."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{str(out)!r} is there already: choose another --out or remove it.")
    model: Any = folded
    with quiet_transformers(), atomic_path(out) as partial:
        _say_biases(model)
        model.save_pretrained(partial)
        _write_processor(partial, processor)
        AutoImageProcessor.from_pretrained(partial)
        reloaded = AutoModelForImageClassification.from_pretrained(partial, dtype=torch.float32)
        with torch.inference_mode():
            difference = check_same(reloaded.eval()(probe).logits, expected)
    return difference


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

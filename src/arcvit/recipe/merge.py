"""Fold a finished run into a plain timm checkpoint."""

import math
from pathlib import Path

import torch
from peft import PeftModel
from peft.utils import ModulesToSaveWrapper
from torch import nn

from arcvit.data.pixels.preset import Decoding, Preprocessing
from arcvit.export.timm_checkpoint import export_timm
from arcvit.recipe.adapter import LoadedAdapter


def merge_run(loaded: LoadedAdapter, out: Path) -> float:
    """Fold a run and write it; the largest difference of logits on random images.

    The run's model is folded in place and must not be used afterwards.

    Raises:
        UserError: the target is taken, or timm doesn't give the same logits.
    """
    height, width = loaded.preprocessing.size
    probe = torch.randn(4, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = loaded.model(probe)
    return export_timm(
        merged_model(loaded.model),
        out,
        classes=loaded.labels,
        data_config=_timm_data_config(loaded.preprocessing),
        probe=probe,
        expected=expected,
    )


def merged_model(model: nn.Module) -> nn.Module:
    """A model with its adapter folded in, in place; a plain model is as it was."""
    if not isinstance(model, PeftModel):
        return model
    merged = model.merge_and_unload(safe_merge=True)
    for name, module in list(merged.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):  # PEFT's LayerNorm tuning leaves it there
            merged.set_submodule(name, module.modules_to_save[module.active_adapter])
    return merged


def lost_in_timm(prep: Preprocessing) -> str:
    """What of a preprocessing timm's config can't hold, as a sentence; empty where nothing is."""
    lost = []
    if prep.orientation == "upright":
        lost.append("turn photos upright by their EXIF orientation")
    if prep.grey_max != Decoding.grey_max:
        lost.append(f"scale grey values of 16 bits from 0 to {prep.grey_max:,}")
    if not lost:
        return ""
    return (
        f"timm's config can't hold how files were read: {' and '.join(lost)} before its transform."
    )


def _timm_data_config(prep: Preprocessing) -> dict[str, object]:
    return {
        "input_size": (3, *prep.size),
        "interpolation": prep.interpolation,
        "mean": prep.mean,
        "std": prep.std,
        "crop_pct": 1.0 if prep.resize == "squash" else _crop_pct(min(prep.size), prep.resize_size),
        "crop_mode": "center" if prep.resize == "shortest" else "squash",
    }


def _crop_pct(size: int, resize_size: int) -> float:
    """The share from which timm gets ``resize_size`` back, as ``floor(size / crop_pct)``."""
    crop_pct = size / resize_size
    while math.floor(size / crop_pct) < resize_size:
        crop_pct = math.nextafter(crop_pct, 0)
    return crop_pct

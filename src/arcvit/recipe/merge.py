"""Fold a finished run into a plain model of timm or transformers."""

from pathlib import Path

import torch
from peft import PeftModel
from peft.utils import ModulesToSaveWrapper
from torch import nn

from arcvit.backbones.crop_pct import crop_pct
from arcvit.backbones.logits import logits_of
from arcvit.core.task import AdapterTask
from arcvit.data.findings import examples
from arcvit.data.pixels.decode import RESAMPLE
from arcvit.data.pixels.preset import Decoding, Preprocessing
from arcvit.export.timm_checkpoint import export_timm
from arcvit.export.transformers_folder import export_transformers, is_transformers_model
from arcvit.recipe.adapter import LoadedAdapter


def merge_run(loaded: LoadedAdapter, out: Path) -> float:
    """Fold a run and write it; the largest difference of logits on random images.

    The run's model is folded in place and must not be used afterwards.

    Raises:
        UserError: the target is taken, or plain timm or transformers doesn't give the same logits.
    """
    height, width = loaded.preprocessing.size
    probe = torch.randn(4, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = logits_of(loaded.model(probe))
    folded = merged_model(loaded.model)
    if is_transformers_model(folded):
        processor = _processor_settings(loaded.preprocessing)
        return export_transformers(folded, out, processor=processor, probe=probe, expected=expected)
    return export_timm(
        folded,
        out,
        classes=loaded.labels,
        kind=loaded.task.kind,
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


def lost_in_config(prep: Preprocessing) -> str:
    """What of a preprocessing no config of timm or transformers holds, as a sentence; or empty."""
    lost = []
    if prep.orientation == "upright":
        lost.append("turn photos upright by their EXIF orientation")
    if prep.grey_max != Decoding.grey_max:
        lost.append(f"scale grey values of 16 bits from 0 to {prep.grey_max:,}")
    if not lost:
        return ""
    return f"Its config can't hold how files were read: {' and '.join(lost)} before its transform."


def lost_thresholds(task: AdapterTask) -> str:
    """How a plain model's outputs are to be read with several labels an image; else empty."""
    if task.kind != "multilabel":
        return ""
    sentence = (
        "Its outputs are logits of independent labels: take the sigmoid of each, not softmax."
    )
    if task.thresholds is None:
        return sentence
    pairs = zip(task.labels, task.thresholds, strict=True)
    named = examples([f"{label} {threshold:.3f}" for label, threshold in pairs], most=20)
    return f"{sentence} A label is given from this calibrated probability on: {named}."


def lost_calibration(task: AdapterTask) -> str:
    """What of a calibration a plain model goes without, as a sentence; or empty."""
    calibration = task.calibration
    if calibration is None:
        return ""
    squashing = "the sigmoid" if task.kind == "multilabel" else "softmax"
    return (
        "Its probabilities are calibrated where its logits are divided by"
        f" {calibration.temperature:.4g} before {squashing}; what is unknown only the"
        " adapter tells."
    )


def _timm_data_config(prep: Preprocessing) -> dict[str, object]:
    return {
        "input_size": (3, *prep.size),
        "interpolation": prep.interpolation,
        "mean": prep.mean,
        "std": prep.std,
        "crop_pct": 1.0 if prep.resize == "squash" else crop_pct(min(prep.size), prep.resize_size),
        "crop_mode": "center" if prep.resize == "shortest" else "squash",
    }


def _processor_settings(prep: Preprocessing) -> dict[str, object]:
    """As image processors of transformers have it."""
    height, width = prep.size
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

"""Write a plain timm checkpoint, and check that timm gives the same logits from it."""

import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from timm.models import save_config_for_hf
from torch import Tensor, nn

from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path

TOLERANCE = 1e-4
"""Largest difference of logits, relative to their largest magnitude where that is above one."""


def export_timm(
    folded: nn.Module,
    out: Path,
    *,
    classes: list[str],
    data_config: dict[str, Any],
    probe: Tensor,
    expected: Tensor,
) -> float:
    """Write a folded timm model, read it back with plain timm, and compare.

    Args:
        folded: the timm model without any adapter in it.
        out: ``NAME.safetensors`` (its config goes beside it as ``NAME.json``), or a folder (timm's
            ``local-dir:`` format: ``model.safetensors`` and ``config.json``).
        classes: class names, kept in the config as ``label_names``.
        data_config: preprocessing as timm records it.
        probe: images to compare on, (B, 3, H, W).
        expected: logits of the adapted model on them, (B, K).

    Returns:
        The largest absolute difference of logits.

    Raises:
        UserError: the target is taken, or the logits differ.
    """
    weights, config = _targets(out)
    for file in (weights, config):
        if file.exists():
            raise UserError(f"{str(file)!r} is there already: choose another --out or remove it.")
    with atomic_path(config) as partial_config, atomic_path(weights) as partial_weights:
        state = {n: t.detach().cpu().contiguous() for n, t in folded.state_dict().items()}
        save_file(state, partial_weights, metadata={"format": "pt"})
        partial_config.parent.mkdir(parents=True, exist_ok=True)
        save_config_for_hf(
            folded,
            str(partial_config),
            model_config={"label_names": classes},
            data_config=data_config,
        )
        record = json.loads(partial_config.read_text(encoding="utf-8"))
        reloaded = timm.create_model(
            record["architecture"],
            **{**record.get("model_args", {}), "num_classes": record["num_classes"]},
            checkpoint_path=str(partial_weights),
        ).eval()
        with torch.inference_mode():
            difference = (reloaded(probe) - expected).abs().max().item()
        if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):
            raise UserError(
                f"the folded model differs from the adapted one by {difference:.2g} in its logits:"
                " nothing was written; please report this."
            )
    return difference


def _targets(out: Path) -> tuple[Path, Path]:
    if out.suffix == ".safetensors":
        return out, out.with_suffix(".json")
    if out.suffix:
        raise UserError(
            f"--out {str(out)!r}: expected NAME.safetensors, or a folder for timm's local-dir."
        )
    return out / "model.safetensors", out / "config.json"

"""Write a plain timm checkpoint, and check that timm gives the same logits from it."""

import json
import tempfile
from pathlib import Path
from typing import Any

import timm
import timm.models
import torch
from torch import Tensor, nn

from arcvit.core.errors import UserError
from arcvit.core.files import put_in_place
from arcvit.core.task import Kind
from arcvit.export.checked import check_same


def export_timm(
    folded: nn.Module,
    out: Path,
    *,
    classes: list[str],
    kind: Kind = "single",
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
        kind: with multilabel the config says so, as ``problem_type``: transformers has it there.
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
    several = {"problem_type": "multi_label_classification"} if kind == "multilabel" else {}
    with tempfile.TemporaryDirectory(dir=_existing_parent(weights)) as scratch:
        timm.models.save_for_hf(
            folded,
            scratch,
            model_config={"label_names": classes, **several},
            safe_serialization=True,
            data_config=data_config,
        )
        written = Path(scratch) / "model.safetensors"
        record = json.loads((Path(scratch) / "config.json").read_text(encoding="utf-8"))
        reloaded = timm.create_model(
            record["architecture"],
            **{**record.get("model_args", {}), "num_classes": record["num_classes"]},
            checkpoint_path=str(written),
        ).eval()
        with torch.inference_mode():
            difference = check_same(reloaded(probe), expected)
        weights.parent.mkdir(parents=True, exist_ok=True)
        put_in_place(Path(scratch) / "config.json", config)
        put_in_place(written, weights)
    return difference


def _existing_parent(file: Path) -> Path:
    """The nearest folder that is there: a rename must not cross file systems."""
    return next(parent for parent in file.absolute().parents if parent.is_dir())


def _targets(out: Path) -> tuple[Path, Path]:
    if out.suffix == ".safetensors":
        return out, out.with_suffix(".json")
    if out.suffix:
        raise UserError(
            f"--out {str(out)!r}: expected NAME.safetensors, or a folder for timm's local-dir."
        )
    return out / "model.safetensors", out / "config.json"

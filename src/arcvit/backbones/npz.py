"""The original ViT checkpoints: ``ViT-B_16.npz``, ``ViT-L_16.npz``, ``ViT-H_14.npz``.

Their architecture is read from the shapes in the file; timm's own loader maps the weights
(``VisionTransformer.load_pretrained``) and interpolates position embeddings to another input size.
"""

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from arcvit.core.errors import UserError

_NAMES = {
    (192, 12, 16): "vit_tiny_patch16_224",
    (384, 12, 16): "vit_small_patch16_224",
    (768, 12, 16): "vit_base_patch16_224",
    (768, 12, 32): "vit_base_patch32_224",
    (1024, 24, 16): "vit_large_patch16_224",
    (1280, 32, 14): "vit_huge_patch14_224",
}
_BLOCK = "Transformer/encoderblock_"
_QUERY = "MultiHeadDotProductAttention_1/query/kernel"
_FC1 = "MlpBlock_3/Dense_0/kernel"
_POSITIONS = "Transformer/posembed_input/pos_embedding"


def describe_npz(file: Path) -> tuple[str, dict[str, Any]]:
    """The timm architecture that a file holds, and its arguments.

    Raises:
        UserError: it isn't a checkpoint of the original ViT.
    """
    shapes = _shapes(file)
    required = ("embedding/kernel", "cls", _POSITIONS, f"{_BLOCK}0/{_QUERY}", f"{_BLOCK}0/{_FC1}")
    missing = [key for key in required if key not in shapes]
    if missing:
        raise UserError(
            f"{file.name} is not a checkpoint of the original ViT: it lacks {', '.join(missing)}."
        )
    patch, _, _, width = shapes["embedding/kernel"]
    blocks = {m.group(1) for key in shapes if (m := re.match(rf"{_BLOCK}(\d+)/", key))}
    _, heads, _ = shapes[f"{_BLOCK}0/{_QUERY}"]
    _, hidden = shapes[f"{_BLOCK}0/{_FC1}"]
    grid = round((shapes[_POSITIONS][1] - 1) ** 0.5)
    name = _NAMES.get((width, len(blocks), patch), "vit_base_patch16_224")
    return name, {
        "img_size": grid * patch,
        "patch_size": patch,
        "embed_dim": width,
        "depth": len(blocks),
        "num_heads": heads,
        "mlp_ratio": hidden / width,
    }


def load_npz(model: nn.Module, file: Path) -> None:
    """Load a file into a timm ViT; its head too where it has as many classes.

    Raises:
        UserError: the model isn't a ViT, or the file lacks some of its weights.
    """
    if not isinstance(model, VisionTransformer):
        raise UserError(
            f"{file.name} holds an original ViT, but the backbone is {type(model).__name__}."
        )
    try:
        model.load_pretrained(str(file))
    except (KeyError, ValueError, RuntimeError, AssertionError) as error:
        raise UserError(f"{file.name} doesn't fit {type(model).__name__}: {error}.") from error


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key].shape for key in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{file.name} can't be read: expected an .npz archive of arrays."
        ) from error

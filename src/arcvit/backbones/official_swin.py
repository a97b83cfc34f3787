"""Checkpoints of the authors' Swin, ``Model/ARC_swin_b.py``: timm's of 2022 with adapters in it.

Every stage has two projections, which all of its blocks share and each registers once more. The
FFN adapter sits on the residual stream before the norm, not after it as the paper says.
"""

import math
import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from arcvit.backbones.official_checkpoint import (
    WRAPPED,
    OfficialCheckpoint,
    Shape,
    check_keys,
    length,
)
from arcvit.core.errors import UserError

_NAMES: dict[tuple[int, tuple[int, ...], int], str] = {
    (96, (2, 2, 6, 2), 7): "swin_tiny_patch4_window7_224",
    (96, (2, 2, 18, 2), 7): "swin_small_patch4_window7_224",
    (128, (2, 2, 18, 2), 7): "swin_base_patch4_window7_224",
    (128, (2, 2, 18, 2), 12): "swin_base_patch4_window12_384",
    (192, (2, 2, 18, 2), 7): "swin_large_patch4_window7_224",
    (192, (2, 2, 18, 2), 12): "swin_large_patch4_window12_384",
}
_DEPTHS = {depths: name for (_, depths, _), name in reversed(_NAMES.items())}
"""Depths that a Swin may have, and an architecture that has them, whatever its width."""
_IN_BLOCK = ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
_TABLE = "attn.relative_position_bias_table"
_MASK = "layers.0.blocks.1.attn_mask"
_ROLES = {"attn": "attn", "mlp": "norm2"}
"""Where an adapter of each role sits in timm's block."""


def is_swin(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is of the authors' Swin, as far as a look tells."""
    shared = state.get("layers.0.attn_u")
    return shared is not None and shared.ndim == 2


def convert_swin(state: Mapping[str, Tensor]) -> OfficialCheckpoint:
    """Map a Swin's state dict to a timm ``SwinTransformer`` and an adapter on it.

    Raises:
        UserError: its depths are no Swin's, or keys are missing, unexpected or misshapen.
    """
    depths = _depths(state)
    width, r = state["layers.0.attn_u"].shape
    first = "layers.0.blocks.0."
    window, resolution = _window_and_resolution(state, first + _TABLE, len(depths))
    ratio = (length(state, first + "mlp.fc1.weight") or 0) / width
    heads = [
        length(state, f"layers.{stage}.blocks.0.{_TABLE}", 1) or 0 for stage in range(len(depths))
    ]
    check_keys(state, dict(_expected(depths, width, r, window, resolution, ratio, heads)))
    _check_copies(state, depths)
    patch = state["patch_embed.proj.weight"].shape[-1]
    return OfficialCheckpoint(
        architecture=_NAMES.get((width, depths, window), _DEPTHS[depths]),
        arguments={
            "img_size": resolution * patch,
            "patch_size": patch,
            "window_size": window,
            "embed_dim": width,
            "depths": list(depths),
            "num_heads": heads,
            "mlp_ratio": ratio,
        },
        backbone=dict(_backbone(state, depths)),
        head={kind: state[f"head.{kind}"] for kind in ("weight", "bias")},
        adapter=dict(_adapter(state, depths)),
        r=r,
        variant="arc",
        ffn_placement="residual",
    )


def _depths(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Blocks of each stage; known ones only, or a file that lacks its last blocks would do."""
    found: dict[int, set[int]] = {}
    for key in state:
        if match := re.match(r"layers\.(\d+)\.blocks\.(\d+)\.", key):
            found.setdefault(int(match.group(1)), set()).add(int(match.group(2)))
    depths = tuple(len(found.get(stage, ())) for stage in range(len(found)))
    if depths not in _DEPTHS:
        shown = ", ".join(map(str, depths)) or "no"
        known = " or ".join(", ".join(map(str, known)) for known in _DEPTHS)
        raise UserError(
            f"this is no whole checkpoint of the authors' Swin: its stages have {shown} blocks,"
            f" expected {known}."
        )
    return depths


def _window_and_resolution(state: Mapping[str, Tensor], table: str, stages: int) -> tuple[int, int]:
    """Edges of a window, w from a table's (2w - 1)^2 rows, and of the first stage's grid."""
    rows = length(state, table)
    window = (math.isqrt(rows or 1) + 1) // 2
    if rows is not None and (2 * window - 1) ** 2 != rows:
        raise UserError(
            f"this official checkpoint doesn't fit: {table} has {rows} rows, expected the square"
            " of an odd number."
        )
    masks = length(state, _MASK)
    # Windows are shifted only where there are several of them: the mask has a part for each.
    resolution = window if masks is None else math.isqrt(masks) * window
    if resolution % 2 ** (stages - 1):
        raise UserError(
            f"this official checkpoint doesn't fit: {resolution} x {resolution} tokens, which"
            f" follow from {_MASK}, can't be halved {stages - 1} times."
        )
    return window, resolution


def _check_copies(state: Mapping[str, Tensor], depths: tuple[int, ...]) -> None:
    for stage, depth in enumerate(depths):
        for role in _ROLES:
            for block in range(depth):
                copy = f"layers.{stage}.blocks.{block}.{role}_u"
                if not torch.equal(state[copy], state[f"layers.{stage}.{role}_u"]):
                    raise UserError(
                        f"this official checkpoint doesn't fit: {copy} differs from"
                        f" layers.{stage}.{role}_u, which the blocks of a stage share."
                    )


def _backbone(state: Mapping[str, Tensor], depths: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
    for kind in ("weight", "bias"):
        for name in ("patch_embed.proj", "patch_embed.norm", "norm"):
            yield f"{name}.{kind}", state[f"{name}.{kind}"]
    for stage, depth in enumerate(depths):
        # timm now has the merging of patches at the beginning of the next stage.
        if stage + 1 < len(depths):
            for name in ("norm.weight", "norm.bias", "reduction.weight"):
                yield (
                    f"layers.{stage + 1}.downsample.{name}",
                    state[f"layers.{stage}.downsample.{name}"],
                )
        for block in range(depth):
            prefix = f"layers.{stage}.blocks.{block}"
            yield f"{prefix}.{_TABLE}", state[f"{prefix}.{_TABLE}"]
            for name in _IN_BLOCK:
                for kind in ("weight", "bias"):
                    yield f"{prefix}.{name}.{kind}", state[f"{prefix}.{name}.{kind}"]


def _adapter(state: Mapping[str, Tensor], depths: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
    for stage, depth in enumerate(depths):
        for role, place in _ROLES.items():
            first = f"{WRAPPED}layers.{stage}.blocks.0.{place}"
            yield f"{first}.arc_projection", state[f"layers.{stage}.{role}_u"]
            for block in range(depth):
                theirs = f"layers.{stage}.blocks.{block}"
                site = f"{WRAPPED}{theirs}.{place}"
                yield f"{site}.arc_coefficients", state[f"{theirs}.{role}_lambda"].flatten()
                yield f"{site}.arc_bias", state[f"{theirs}.{role}_lambda_bias"]


def _expected(
    depths: tuple[int, ...],
    width: int,
    r: int,
    window: int,
    resolution: int,
    ratio: float,
    heads: list[int],
) -> Iterator[tuple[str, Shape]]:
    """Every key that a file of this size holds, buffers included."""
    yield "patch_embed.proj.weight", (width, 3, None, None)
    yield "patch_embed.proj.bias", (width,)
    yield from _norm("patch_embed.norm", width)
    for stage, depth in enumerate(depths):
        dim, side = width * 2**stage, resolution // 2**stage
        hidden, edge = round(dim * ratio), min(window, side)
        yield from {f"layers.{stage}.{role}_u": (dim, r) for role in _ROLES}.items()
        for block in range(depth):
            prefix = f"layers.{stage}.blocks.{block}"
            if side > window and block % 2:
                yield f"{prefix}.attn_mask", ((side // edge) ** 2, edge**2, edge**2)
            yield f"{prefix}.{_TABLE}", ((2 * edge - 1) ** 2, heads[stage])
            yield f"{prefix}.attn.relative_position_index", (edge**2, edge**2)
            for name, shape in {
                "attn.qkv": (3 * dim, dim),
                "attn.proj": (dim, dim),
                "mlp.fc1": (hidden, dim),
                "mlp.fc2": (dim, hidden),
            }.items():
                yield f"{prefix}.{name}.weight", shape
                yield f"{prefix}.{name}.bias", shape[:1]
            yield from _norm(f"{prefix}.norm1", dim)
            yield from _norm(f"{prefix}.norm2", dim)
            for role in _ROLES:
                yield f"{prefix}.{role}_u", (dim, r)
                yield f"{prefix}.{role}_lambda", (1, r)
                yield f"{prefix}.{role}_lambda_bias", (dim,)
        if stage + 1 < len(depths):
            yield from _norm(f"layers.{stage}.downsample.norm", 4 * dim)
            yield f"layers.{stage}.downsample.reduction.weight", (2 * dim, 4 * dim)
    last = width * 2 ** (len(depths) - 1)
    yield from _norm("norm", last)
    yield "head.weight", (None, last)
    yield "head.bias", (None,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)

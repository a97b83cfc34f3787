"""Checkpoints of the authors' ViTs: ``Model/ARC_ViT.py``, and their VTAB script's ``ARC_new.py``.

The two compute the same, and name the parts of an adapter differently. Query, key and value are
joined into timm's ``qkv``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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

_ARCHITECTURES = {
    (768, 12, 16): "vit_base_patch16_224",
    (1024, 24, 16): "vit_large_patch16_224",
    (1280, 32, 14): "vit_huge_patch14_224",
}
_PLAIN = {"embedding.projective": "patch_embed.proj", "transformer.layer_norm": "norm"}
_HEAD = "head_mlp.head"
_IN_BLOCK = {
    "att_layer_norm": "norm1",
    "fnn_layer_norm": "norm2",
    "attention.projective": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_SITES = {"att": "norm1", "mlp": "norm2"}
_QKV = ("query", "key", "value")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a model file names an adapter's parts; ``{}`` is the role, att or mlp."""

    projection: str
    coefficients: str
    bias: str

    def down(self, role: str) -> str:
        """The projection that all blocks share."""
        return self.projection.format(role)


DIALECTS = (
    Dialect(
        projection="transformer.{}_down_projection",
        coefficients="{}_adapter.adapter_rescale",
        bias="{}_adapter.adapter_bias",
    ),
    Dialect(projection="transformer.left_u_{}", coefficients="{}_scale", bias="{}_scale_bias"),
)


def convert_vit(
    state: Mapping[str, Tensor], dialect: Dialect, heads: int | None
) -> OfficialCheckpoint:
    """Map a ViT's state dict to a timm ``VisionTransformer`` and an adapter on it.

    Raises:
        UserError: keys are missing, unexpected or misshapen, or the heads don't fit.
    """
    blocks = {
        int(m.group(1)) for key in state if (m := re.match(r"transformer\.layer\.(\d+)\.", key))
    }
    shared = state[dialect.down("att")]
    # Blocks are numbered without a gap: a stranger's number mustn't say how many there are.
    if shared.ndim != 2 or not blocks or max(blocks) >= len(blocks):
        raise UserError(
            f"this is not an ARC checkpoint of the authors' ViT: expected {dialect.down('att')} of"
            f" two dimensions, and transformer.layer.0.*, 1.* and so on among its {len(state)} keys"
            f" ({', '.join(sorted(state)[:4])} ...)."
        )
    width, r = shared.shape
    depth = len(blocks)
    roles = ("att", "mlp") if dialect.down("mlp") in state else ("att",)
    check_keys(state, dict(_expected(state, dialect, roles, width, r, depth)))
    backbone: dict[str, Tensor] = {
        "cls_token": state["embedding.cls"],
        "pos_embed": state["embedding.position_embedding"],
    }
    adapter: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        for theirs, ours in _PLAIN.items():
            backbone[f"{ours}.{kind}"] = state[f"{theirs}.{kind}"]
        for block in range(depth):
            prefix = f"transformer.layer.{block}"
            for theirs, ours in _IN_BLOCK.items():
                backbone[f"blocks.{block}.{ours}.{kind}"] = state[f"{prefix}.{theirs}.{kind}"]
            parts = [state[f"{prefix}.attention.{name}.{kind}"] for name in _QKV]
            backbone[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat(parts)
    for block in range(depth):
        for role in roles:
            site = f"{WRAPPED}blocks.{block}.{_SITES[role]}"
            theirs = f"transformer.layer.{block}."
            coefficients = state[theirs + dialect.coefficients.format(role)]
            adapter[f"{site}.arc_coefficients"] = coefficients.flatten()
            adapter[f"{site}.arc_bias"] = state[theirs + dialect.bias.format(role)]
            if block == 0:
                adapter[f"{site}.arc_projection"] = state[dialect.down(role)]
    patch = backbone["patch_embed.proj.weight"].shape[-1]
    return OfficialCheckpoint(
        architecture=_ARCHITECTURES.get((width, depth, patch), "vit_base_patch16_224"),
        arguments={
            "img_size": round((backbone["pos_embed"].shape[1] - 1) ** 0.5) * patch,
            "patch_size": patch,
            "embed_dim": width,
            "depth": depth,
            "num_heads": _checked_heads(heads, width),
            "mlp_ratio": len(backbone["blocks.0.mlp.fc1.weight"]) / width,
        },
        backbone=backbone,
        head={kind: state[f"{_HEAD}.{kind}"] for kind in ("weight", "bias")},
        adapter=adapter,
        r=r,
        variant="arc" if "mlp" in roles else "arc_att",
        ffn_placement="paper",
    )


def _checked_heads(heads: int | None, width: int) -> int:
    if heads is None:
        heads = width // (80 if width == 1280 else 64)
    if heads < 1 or width % heads:
        raise UserError(f"{heads} heads don't divide a width of {width}: give --heads of the ViT.")
    return heads


def _expected(
    state: Mapping[str, Tensor],
    dialect: Dialect,
    roles: tuple[str, ...],
    width: int,
    r: int,
    depth: int,
) -> Iterator[tuple[str, Shape]]:
    """Every key that a file of this size holds."""
    yield "embedding.cls", (1, 1, width)
    yield "embedding.position_embedding", (1, None, width)
    yield "embedding.projective.weight", (width, 3, None, None)
    yield "embedding.projective.bias", (width,)
    yield f"{_HEAD}.weight", (None, width)
    yield f"{_HEAD}.bias", (None,)
    yield "transformer.layer_norm.weight", (width,)
    yield "transformer.layer_norm.bias", (width,)
    hidden = length(state, "transformer.layer.0.mlp.fc1.weight")
    for role in roles:
        yield dialect.down(role), (width, r)
    for block in range(depth):
        prefix = f"transformer.layer.{block}"
        for name in (*_QKV, "projective"):
            yield f"{prefix}.attention.{name}.weight", (width, width)
            yield f"{prefix}.attention.{name}.bias", (width,)
        yield f"{prefix}.mlp.fc1.weight", (hidden, width)
        yield f"{prefix}.mlp.fc1.bias", (hidden,)
        yield f"{prefix}.mlp.fc2.weight", (width, hidden)
        yield f"{prefix}.mlp.fc2.bias", (width,)
        for norm in ("att_layer_norm", "fnn_layer_norm"):
            yield f"{prefix}.{norm}.weight", (width,)
            yield f"{prefix}.{norm}.bias", (width,)
        for role in roles:
            yield f"{prefix}.{dialect.coefficients.format(role)}", (1, r)
            yield f"{prefix}.{dialect.bias.format(role)}", (width,)

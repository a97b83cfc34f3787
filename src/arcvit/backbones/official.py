"""The authors' fine-tuned checkpoints: their names, and ours.

Their files are plain state dicts of their own ViT with its adapters (method.md has the naming). One
strict map takes each of their keys to a key of a timm ``VisionTransformer``, of an ARC adapter on
it, or of its head; query, key and value are joined into timm's ``qkv``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from arcvit.core.errors import UserError

_WRAPPED = "base_model.model."
_PLAIN = {
    "embedding.projective": "patch_embed.proj",
    "transformer.layer_norm": "norm",
    "head_mlp.head": "head",
}
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
class OfficialCheckpoint:
    """What an official file holds.

    Attributes:
        backbone: state dict of timm's ViT without its head.
        head: ``head.weight`` (K, d) and ``head.bias`` (K,).
        adapter: state dict of an ARC adapter, in PEFT's naming.
        width: d.
        depth: L.
        r: rank.
        patch: edge of a patch in pixels.
        tokens: position embeddings, the class token's included.
        variant: ``arc`` or ``arc_att``.
    """

    backbone: dict[str, Tensor]
    head: dict[str, Tensor]
    adapter: dict[str, Tensor]
    width: int
    depth: int
    r: int
    patch: int
    tokens: int
    variant: str


def convert_official(state: Mapping[str, Tensor]) -> OfficialCheckpoint:
    """Map an official state dict to ours.

    Raises:
        UserError: keys are missing, unexpected or misshapen; each is named.
    """
    blocks = {
        int(m.group(1)) for key in state if (m := re.match(r"transformer\.layer\.(\d+)\.", key))
    }
    shared = state.get("transformer.att_down_projection")
    # Blocks are numbered without a gap: a stranger's number mustn't say how many there are.
    if shared is None or shared.ndim != 2 or not blocks or max(blocks) >= len(blocks):
        raise UserError(
            "this is not an ARC checkpoint of the authors' ViT: expected"
            " transformer.att_down_projection and transformer.layer.0.*, 1.* and so on among its"
            f" {len(state)} keys ({', '.join(sorted(state)[:4])} ...)."
        )
    width, r = shared.shape
    depth = len(blocks)
    variant = "arc" if "transformer.mlp_down_projection" in state else "arc_att"
    expected = dict(_expected_shapes(state, width, r, depth, variant))
    _refuse_differences(state, expected)
    backbone: dict[str, Tensor] = {
        "cls_token": state["embedding.cls"],
        "pos_embed": state["embedding.position_embedding"],
    }
    head: dict[str, Tensor] = {}
    for theirs, ours in _PLAIN.items():
        target = head if ours == "head" else backbone
        for kind in ("weight", "bias"):
            target[f"{ours}.{kind}"] = state[f"{theirs}.{kind}"]
    adapter: dict[str, Tensor] = {}
    for block in range(depth):
        prefix = f"transformer.layer.{block}"
        for kind in ("weight", "bias"):
            for theirs, ours in _IN_BLOCK.items():
                backbone[f"blocks.{block}.{ours}.{kind}"] = state[f"{prefix}.{theirs}.{kind}"]
            parts = [state[f"{prefix}.attention.{name}.{kind}"] for name in _QKV]
            backbone[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat(parts)
        for role in _roles(variant):
            site = f"{_WRAPPED}blocks.{block}.{_SITES[role]}"
            theirs = f"{prefix}.{role}_adapter"
            adapter[f"{site}.arc_coefficients"] = state[f"{theirs}.adapter_rescale"].flatten()
            adapter[f"{site}.arc_bias"] = state[f"{theirs}.adapter_bias"]
            if block == 0:
                down = state[f"transformer.{role}_down_projection"]
                adapter[f"{site}.arc_projection"] = down
    return OfficialCheckpoint(
        backbone={key: value.contiguous() for key, value in backbone.items()},
        head=head,
        adapter={key: value.contiguous() for key, value in adapter.items()},
        width=width,
        depth=depth,
        r=r,
        patch=state["embedding.projective.weight"].shape[-1],
        tokens=state["embedding.position_embedding"].shape[1],
        variant=variant,
    )


def _roles(variant: str) -> tuple[str, ...]:
    return ("att", "mlp") if variant == "arc" else ("att",)


def _expected_shapes(
    state: Mapping[str, Tensor], width: int, r: int, depth: int, variant: str
) -> Iterator[tuple[str, tuple[int | None, ...]]]:
    """Every key an official file of this size holds; None for a length that may be any."""
    yield "embedding.cls", (1, 1, width)
    yield "embedding.position_embedding", (1, None, width)
    yield "embedding.projective.weight", (width, 3, None, None)
    yield "embedding.projective.bias", (width,)
    yield "head_mlp.head.weight", (None, width)
    yield "head_mlp.head.bias", (None,)
    yield "transformer.layer_norm.weight", (width,)
    yield "transformer.layer_norm.bias", (width,)
    fc1 = state.get("transformer.layer.0.mlp.fc1.weight")
    hidden = None if fc1 is None or not fc1.ndim else len(fc1)
    for role in _roles(variant):
        yield f"transformer.{role}_down_projection", (width, r)
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
        for role in _roles(variant):
            yield f"{prefix}.{role}_adapter.adapter_rescale", (1, r)
            yield f"{prefix}.{role}_adapter.adapter_bias", (width,)


def _refuse_differences(
    state: Mapping[str, Tensor], expected: Mapping[str, tuple[int | None, ...]]
) -> None:
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    misshapen = [
        f"{key} {tuple(state[key].shape)} for {_shown(shape)}"
        for key, shape in expected.items()
        if key in state and not _fits(tuple(state[key].shape), shape)
    ]
    problems = {"missing": missing, "unexpected": unexpected, "wrong shape": misshapen}
    if any(problems.values()):
        listed = "; ".join(f"{what}: {', '.join(keys)}" for what, keys in problems.items() if keys)
        raise UserError(f"this official checkpoint doesn't fit: {listed}.")


def _fits(found: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(found) == len(expected) and all(
        want is None or have == want for have, want in zip(found, expected, strict=True)
    )


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if length is None else str(length) for length in shape) + ")"

"""Where the adapters of known families sit: records, one a kind of block.

A family is recognised by the class names of its blocks (base classes count, so a subclass is known
too); names of attributes alone would take a post-norm block for a pre-norm one.

Most sites are the norm before MHA or FFN: its output reaches nothing but the listed linear
layers. Some blocks put the site on the input of a sub-layer instead. Swin and SAM pad their windows
between norm and attention, as DaViT does, Twins in its attention, and a padded token must pass the
adapter too, or folding would change it. Post-norm blocks (Swin-V2) have no norm before the
sub-layer, and of XCiT's last blocks the norm's output is the residual stream as well.

What is said here of a block holds for the code it was written for. Other code whose classes have
the same names is looked at as it runs: see ``arcvit.arc.proof``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class SiteRule:
    """One adapter of a block; all names are relative to the block.

    Attributes:
        role: ``att`` (before MHA) or ``ffn`` (before the FFN).
        module: the norm whose output is adapted, or the sub-layer whose input is.
        on_input: whether ``module`` is such a sub-layer.
        consumers: alternatives; the first whose layers all exist is taken.
        also: further layers that consume the same tensor where the block has them.
        residual_of: the module whose output is added to the residual stream after the norm: where
            the authors' Swin code puts the adapter, it is on that stream.
    """

    role: str
    module: str
    consumers: tuple[tuple[str, ...], ...]
    on_input: bool = False
    also: tuple[str, ...] = ()
    residual_of: str | None = None


_QKV = ("q_proj", "k_proj", "v_proj")
_OLD_HF_QKV = tuple(f"attention.attention.{name}" for name in ("query", "key", "value"))
_TIMM_ATTENTION = (("attn.qkv",), tuple(f"attn.{name}" for name in _QKV))
_TIMM_MLP = (("mlp.fc1",), ("mlp.fc1_g", "mlp.fc1_x"))
_HF_ATTENTION = (tuple(f"attention.{name}" for name in _QKV), _OLD_HF_QKV)
_HF_MLP = (
    ("mlp.fc1",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.up_proj",),
    ("intermediate.dense",),
    ("mlp.weights_in",),
)

_TIMM_PRE_NORM = (
    SiteRule(role="att", module="norm1", consumers=_TIMM_ATTENTION, also=("attn.gate",)),
    SiteRule(role="ffn", module="norm2", consumers=_TIMM_MLP),
)
_HF_VIT = (
    SiteRule(role="att", module="layernorm_before", consumers=_HF_ATTENTION),
    SiteRule(role="ffn", module="layernorm_after", consumers=_HF_MLP),
)
_HF_DINO = (
    SiteRule(role="att", module="norm1", consumers=_HF_ATTENTION),
    SiteRule(role="ffn", module="norm2", consumers=_HF_MLP),
)
_HF_CLIP = (
    SiteRule(
        role="att",
        module="layer_norm1",
        consumers=(tuple(f"self_attn.{name}" for name in _QKV),),
    ),
    SiteRule(role="ffn", module="layer_norm2", consumers=_HF_MLP),
)

_CONVIT = (
    SiteRule(role="att", module="norm1", consumers=(("attn.qkv",), ("attn.qk", "attn.v"))),
    SiteRule(role="ffn", module="norm2", consumers=_TIMM_MLP),
)
_SAM = (
    SiteRule(role="att", module="attn", on_input=True, consumers=_TIMM_ATTENTION),
    SiteRule(role="ffn", module="norm2", consumers=_TIMM_MLP),
)
_TWINS = (
    # The attention over sub-sampled tokens has no qkv: its norm feeds a convolution too.
    SiteRule(role="att", module="attn.qkv", on_input=True, consumers=_TIMM_ATTENTION),
    SiteRule(role="ffn", module="norm2", consumers=_TIMM_MLP),
)
_TOKEN_ATTENTION = (tuple(f"attn.{name}" for name in "qkv"),)
_CAIT_TOKEN = (
    SiteRule(role="att", module="norm1", consumers=_TOKEN_ATTENTION),
    SiteRule(role="ffn", module="norm2", consumers=_TIMM_MLP),
)
_XCIT_TOKEN = (
    SiteRule(role="att", module="attn", on_input=True, consumers=_TOKEN_ATTENTION),
    SiteRule(role="ffn", module="mlp", on_input=True, consumers=_TIMM_MLP),
)
_HIERA = (
    # Where a block widens, the stream itself goes through proj after the norm.
    SiteRule(role="att", module="norm1", consumers=_TIMM_ATTENTION, also=("proj",)),
    SiteRule(role="ffn", module="norm2", consumers=_TIMM_MLP),
)
_HF_HIERA = (
    SiteRule(role="att", module="layernorm_before", consumers=_TIMM_ATTENTION, also=("proj",)),
    SiteRule(role="ffn", module="layernorm_after", consumers=_HF_MLP),
)

FAMILIES: Mapping[str, tuple[SiteRule, ...]] = {
    # timm
    "Block": _TIMM_PRE_NORM,  # ViT, DeiT, SigLIP towers, BEiT
    "EvaBlock": _TIMM_PRE_NORM,
    "LayerScaleBlock": _TIMM_PRE_NORM,  # CaiT
    "LayerScaleBlockClassAttn": _CAIT_TOKEN,
    "XCABlock": _TIMM_PRE_NORM,
    "xcit.ClassAttentionBlock": _XCIT_TOKEN,
    "davit.ChannelBlock": _TIMM_PRE_NORM,
    "davit.SpatialBlock": _SAM,
    "HieraBlock": _HIERA,
    "convit.Block": _CONVIT,
    "twins.Block": _TWINS,
    "vision_transformer_sam.Block": _SAM,
    "SwinTransformerBlock": (
        SiteRule(role="att", module="attn", on_input=True, consumers=_TIMM_ATTENTION),
        SiteRule(role="ffn", module="norm2", consumers=_TIMM_MLP, residual_of="drop_path2"),
    ),
    "SwinTransformerV2Block": (
        SiteRule(role="att", module="attn", on_input=True, consumers=_TIMM_ATTENTION),
        SiteRule(role="ffn", module="mlp", on_input=True, consumers=_TIMM_MLP),
    ),
    # transformers
    "ViTLayer": _HF_VIT,
    "DeiTLayer": _HF_VIT,
    "BeitLayer": _HF_VIT,
    "ViTMAELayer": _HF_VIT,
    "ViTMSNLayer": _HF_VIT,
    "IJepaLayer": _HF_VIT,
    "HieraLayer": _HF_HIERA,
    "Dinov2Layer": _HF_DINO,
    "Dinov2WithRegistersLayer": _HF_DINO,
    "DINOv3ViTLayer": _HF_DINO,
    "CLIPEncoderLayer": _HF_CLIP,
    "SiglipEncoderLayer": _HF_CLIP,
    "SwinLayer": (
        SiteRule(role="att", module="attention", on_input=True, consumers=_HF_ATTENTION),
        SiteRule(role="ffn", module="layernorm_after", consumers=_HF_MLP, residual_of="mlp"),
    ),
}


LAST_LAYERS: Mapping[str, tuple[str, ...]] = {
    "att": ("attn.proj", "attention.o_proj", "attention.output.dense", "self_attn.out_proj"),
    "ffn": ("mlp.fc2", "mlp.down_proj", "mlp.weights_out"),
}
"""The linear layers that MHA and FFN end with in the blocks above; the first that exists is meant.
An adapter after one of them is folded into it, whatever follows."""

_WRITTEN_FOR = re.compile(
    r"timm\.(layers\..*|models\.(vision_transformer(_sam)?|beit|eva|swin_transformer(_v2)?|twins"
    r"|cait|convit|davit|hiera|pvt_v2|xcit))|transformers\.models\.(vit(_mae|_msn)?|deit|beit|hiera"
    r"|ijepa|dinov2(_with_registers)?|dinov3_vit|clip|siglip|swin)\..*"
)
"""Modules of Python that were read for the rules above."""


def rules_for(block: nn.Module) -> tuple[SiteRule, ...]:
    """The rules of a block, by the names of its class and base classes; empty if it isn't known."""
    for cls in type(block).__mro__:
        for key in (f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}", cls.__name__):
            if key in FAMILIES:
                return FAMILIES[key]
    return ()


def is_known_code(modules: Iterable[nn.Module]) -> bool:
    """Whether modules run the code that the rules were written for, with nothing put in between."""
    return all(
        _WRITTEN_FOR.fullmatch(type(module).forward.__module__)
        and "forward" not in vars(module)
        and not module._forward_pre_hooks
        for module in modules
    )

"""Where the adapters of known families sit: records, one a kind of block.

A family is recognised by the class names of its blocks (base classes count, so a subclass is known
too); names alone would take a post-norm block for a pre-norm one. A norm is a site where its output
reaches nothing but the listed linear layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class SiteRule:
    """One adapter of a block.

    Attributes:
        role: ``att`` (before MHA) or ``ffn`` (before the FFN).
        norm: the module whose output is adapted, relative to the block.
        consumers: alternatives; the first whose layers all exist is taken. Relative to the block.
        also: further layers that consume the same output where the block has them.
    """

    role: str
    norm: str
    consumers: tuple[tuple[str, ...], ...]
    also: tuple[str, ...] = ()


FAMILIES: Mapping[str, tuple[SiteRule, ...]] = {
    # timm: ViT, DeiT, and the blocks that derive from theirs.
    "Block": (
        SiteRule(role="att", norm="norm1", consumers=(("attn.qkv",),), also=("attn.gate",)),
        SiteRule(role="ffn", norm="norm2", consumers=(("mlp.fc1",),)),
    ),
}


def rules_for(block: nn.Module) -> tuple[SiteRule, ...]:
    """The rules of a block, by the names of its class and base classes; empty if it isn't known."""
    for cls in type(block).__mro__:
        if cls.__name__ in FAMILIES:
            return FAMILIES[cls.__name__]
    return ()

"""The settings of ARC that don't depend on a model: the command line shows them without torch."""

from dataclasses import dataclass, field
from typing import Any, Literal

from arcvit.arc.patterns import check_pattern
from arcvit.core.errors import UserError, nearest
from arcvit.core.settings import shown

VARIANTS: dict[str, tuple[str, ...]] = {
    "arc": ("att", "ffn"),
    "arc_att": ("att",),
    "arc_ffn": ("ffn",),
    "arc_plus": ("att", "ffn"),
}
"""Roles that carry an adapter in each variant: at MHA, at the FFN."""

_DEFAULTS: dict[str, Any] = {
    "r": 50,
    "sites": "before",
    "projection_init": "xavier",
    "coefficients_init": "paper",
}
_DEFAULTS_OF: dict[str, dict[str, Any]] = {
    "arc_plus": {
        "r": 39,
        "sites": "both",
        "projection_init": "activations",
        "coefficients_init": "zeros",
    },
}
"""What a variant has where it isn't set, other than the paper."""

CHOICES: dict[str, tuple[str, ...]] = {
    "variant": tuple(VARIANTS),
    "sites": ("before", "after", "both"),
    "share": ("role", "all", "none"),
    "up_projection": ("symmetric", "separate"),
    "core": ("diagonal", "full"),
    "projection_init": ("xavier", "activations"),
    "coefficients_init": ("paper", "zeros", "xavier"),
    "placement": ("after_norm", "before_norm"),
    "ffn_placement": ("paper", "residual"),
}


@dataclass
class ArcOptions:
    """What an ARC adapter is, on any backbone.

    Attributes:
        r: width of the bottleneck; 1 to the width of the layers adapted. Default: 50; arc_plus: 39.
        variant: adapters at MHA and FFN (arc), at MHA only (arc_att) or at the FFN only (arc_ffn);
            or before and after both, with projections from the activations (arc_plus).
        sites: before MHA and FFN, on the norm's output (before, as in the paper), after them, on
            the output of their last linear layer (after), or both (the default of arc_plus); the
            two of a role share their projection.
        arc_dropout: dropout in the bottleneck, after the re-scaling.
        adapter_bias: whether each adapter learns its bias b.
        init_weights: start as the paper does; false: at random and far from the identity, for
            tests.
        share: ablation: one projection for all adapters of a role (role, as in the paper), one for
            all (all), or one for each site (none).
        up_projection: ablation: the transposed down-projection (symmetric, as in the paper) or a
            matrix of its own, shared alike (separate).
        core: what re-composes the bottleneck in each layer: coefficients (diagonal, as in the
            paper) or an r x r matrix (full), which starts at zero.
        projection_init: xavier, as in the paper; or the principal directions of the activations on
            training images (activations, the default of arc_plus), which arcvit train and
            initialize_from_activations set, and which are Xavier-uniform until then.
        train_projection: whether the projections are trained; false: they stay as they start.
        placement: ablation: after the norm (after_norm, as in the paper) or before it
            (before_norm), which can't be folded.
        ffn_placement: before the FFN (paper) or, as in the authors' Swin code, on the residual
            stream before the norm (residual), which can't be folded.
        coefficients_init: ablation: zeros before MHA and Xavier-uniform before the FFN (paper), or
            one of them for both (zeros, the default of arc_plus; xavier). A full core starts at
            zero under paper.
        rank_pattern: another r for the sites whose name ends in the key (regular expressions).
        layers_to_transform: indices of the blocks to adapt; null: all.

    Raises:
        UserError: a value is out of range, or not one of those expected.
    """

    # Until __post_init__ gives them the variant's own, these are None where they aren't set.
    r: int = None  # type: ignore[assignment]
    variant: Literal["arc", "arc_att", "arc_ffn", "arc_plus"] = "arc"
    sites: Literal["before", "after", "both"] = None  # type: ignore[assignment]
    arc_dropout: float = 0.1
    adapter_bias: bool = True
    init_weights: bool = True
    share: Literal["role", "all", "none"] = "role"
    up_projection: Literal["symmetric", "separate"] = "symmetric"
    core: Literal["diagonal", "full"] = "diagonal"
    projection_init: Literal["xavier", "activations"] = None  # type: ignore[assignment]
    train_projection: bool = True
    placement: Literal["after_norm", "before_norm"] = "after_norm"
    ffn_placement: Literal["paper", "residual"] = "paper"
    coefficients_init: Literal["paper", "zeros", "xavier"] = None  # type: ignore[assignment]
    rank_pattern: dict[str, int] = field(default_factory=dict)
    layers_to_transform: list[int] | int | None = None

    def __post_init__(self) -> None:
        own = _DEFAULTS_OF.get(self.variant, {}) if isinstance(self.variant, str) else {}
        for name, value in (_DEFAULTS | own).items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        for name, known in CHOICES.items():
            check_choice(name, getattr(self, name), known)
        for name in ("adapter_bias", "init_weights", "train_projection"):
            if not isinstance(getattr(self, name), bool):
                raise UserError(f"{name}={getattr(self, name)!r}: expected true or false.")
        for name, rank in {"r": self.r, **self.rank_pattern}.items():
            if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
                raise UserError(
                    f"{name}={rank!r} is not a bottleneck width: expected an integer from 1 to the"
                    " width of the layers adapted."
                )
        for name in self.rank_pattern:
            check_pattern("a key of rank_pattern", name)
        if not 0.0 <= self.arc_dropout < 1.0:
            raise UserError(
                f"arc_dropout={self.arc_dropout} is out of range: expected 0 <= arc_dropout < 1."
            )


def check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse a value that isn't among those known.

    Raises:
        UserError: it isn't; the sentence names the nearest.
    """
    if value not in known:
        raise UserError(
            f"{name}={shown(value)} is not known: expected one of {', '.join(known)}."
            + nearest(str(value), known)
        )

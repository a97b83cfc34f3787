"""The PEFT configuration of an ARC adapter."""

from dataclasses import dataclass, field
from typing import Any, Literal

from peft import PeftConfig

from arcvit.core.errors import UserError, nearest

PEFT_TYPE = "ARC"
VARIANTS: dict[str, tuple[str, ...]] = {
    "arc": ("att", "ffn"),
    "arc_att": ("att",),
    "arc_ffn": ("ffn",),
}
"""Roles that carry an adapter in each variant: before MHA, before the FFN."""

CHOICES: dict[str, tuple[str, ...]] = {
    "variant": tuple(VARIANTS),
    "bias": ("arc", "none"),
    "share": ("role", "all", "none"),
    "up_projection": ("symmetric", "separate"),
    "coefficients_init": ("paper", "zeros", "xavier"),
    "placement": ("after_norm", "before_norm"),
    "ffn_placement": ("paper", "residual"),
}


@dataclass
class ArcConfig(PeftConfig):
    """Configuration of ARC, "Efficient Adaptation of Large Vision Transformer via Adapter
    Re-Composing" (NeurIPS 2023, arXiv 2310.06234).

    Args:
        r: Width of the bottleneck; 1 to the width of the layers adapted.
        variant: ``arc`` (adapters before MHA and FFN), ``arc_att`` (MHA only) or ``arc_ffn``
            (FFN only). Chooses among the sites that are found by themselves.
        dropout: Dropout in the bottleneck, after the re-scaling.
        bias: ``arc``: each adapter learns its bias b; ``none``: it has none. The biases of the
            backbone stay frozen either way.
        target_modules: Names (or a regular expression) of the modules to adapt: norms of a known
            family, or plain linear layers, whose input is adapted. None: all sites of the family.
        consumers: For a family that isn't known: the linear layers that consume a norm's output,
            by the norm's name, as ``{"norm_a": ["attention.query", "attention.key"]}``; the names
            are relative to the norm's parent.
        exclude_modules: Names (or a regular expression) of modules to leave alone.
        layers_to_transform: Indices of the blocks to adapt. None: all.
        layers_pattern: Name of the list of blocks, where the index is ambiguous.
        rank_pattern: Another r for the sites whose name ends in the key (regular expressions).
        modules_to_save: Modules trained and saved whole beside the adapter: the head.
        projection: Name of another adapter on the model whose projections are used, frozen: only
            coefficients and bias are learned. That adapter must be loaded first.
        share: Ablation: ``role`` (the paper: one projection for all MHA adapters, one for all FFN
            adapters), ``all`` (one for both), ``none`` (one for each site).
        up_projection: Ablation: ``symmetric`` (the paper: the transposed down-projection) or
            ``separate`` (a matrix of its own, Xavier-uniform, shared alike).
        coefficients_init: Ablation: ``paper`` (zeros before MHA, Xavier-uniform before the FFN),
            ``zeros`` or ``xavier`` for both.
        placement: Ablation: ``after_norm`` (the paper) or ``before_norm``, which can't be folded.
        ffn_placement: ``paper`` (before the FFN), or ``residual`` as in the authors' Swin code: on
            the residual stream before the norm, which can't be folded.
        classes: Class names in the order of the logits; kept for prediction.
        preprocessing: How images were prepared (size, resize, mean, std); kept for prediction.
        backbone: Name of the backbone the adapter was trained on.
        backbone_fingerprint: Fingerprint of that backbone's weights. Where set, loading onto other
            weights is an error; set it to None to load anyway.
    """

    r: int = field(default=50, metadata={"help": "Width of the bottleneck."})
    variant: Literal["arc", "arc_att", "arc_ffn"] = field(
        default="arc", metadata={"help": "Adapters before MHA and FFN, MHA only, or FFN only."}
    )
    dropout: float = field(default=0.1, metadata={"help": "Dropout in the bottleneck."})
    bias: Literal["arc", "none"] = field(
        default="arc", metadata={"help": "Whether each adapter learns a bias."}
    )
    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Modules to adapt; None: the sites of a known family."}
    )
    consumers: dict[str, list[str]] | None = field(
        default=None, metadata={"help": "Linear layers that consume a norm, by the norm's name."}
    )
    exclude_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Modules to leave alone."}
    )
    layers_to_transform: list[int] | int | None = field(
        default=None, metadata={"help": "Indices of the blocks to adapt."}
    )
    layers_pattern: list[str] | str | None = field(
        default=None, metadata={"help": "Name of the list of blocks."}
    )
    rank_pattern: dict[str, int] = field(
        default_factory=dict, metadata={"help": "Another r for sites that match the key."}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules trained and saved whole: the head."}
    )
    projection: str | None = field(
        default=None, metadata={"help": "Adapter whose frozen projections are used."}
    )
    share: Literal["role", "all", "none"] = field(
        default="role", metadata={"help": "Which sites share a projection."}
    )
    up_projection: Literal["symmetric", "separate"] = field(
        default="symmetric", metadata={"help": "Whether the up-projection is the transposed one."}
    )
    coefficients_init: Literal["paper", "zeros", "xavier"] = field(
        default="paper", metadata={"help": "How the coefficients start."}
    )
    placement: Literal["after_norm", "before_norm"] = field(
        default="after_norm", metadata={"help": "Where the adapter sits at a norm."}
    )
    ffn_placement: Literal["paper", "residual"] = field(
        default="paper", metadata={"help": "Where the FFN adapter sits; residual: authors' Swin."}
    )
    classes: list[str] | None = field(default=None, metadata={"help": "Class names."})
    preprocessing: dict[str, Any] | None = field(
        default=None, metadata={"help": "How images were prepared."}
    )
    backbone: str | None = field(default=None, metadata={"help": "Name of the backbone."})
    backbone_fingerprint: str | None = field(
        default=None, metadata={"help": "Fingerprint of the backbone's weights."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PEFT_TYPE  # a plain string: PEFT's enum of types is closed
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise UserError(
                    f"{name}={value!r} is not known: expected one of {', '.join(known)}."
                    + nearest(str(value), known)
                )
        for name, rank in {"r": self.r, **self.rank_pattern}.items():
            if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
                raise UserError(
                    f"{name}={rank!r} is not a bottleneck width: expected an integer from 1 to the"
                    " width of the layers adapted."
                )
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"dropout={self.dropout} is out of range: expected 0 <= dropout < 1.")
        if self.consumers is not None and self.target_modules is None:
            self.target_modules = sorted(self.consumers)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-safe dictionary. Target names are sorted: PEFT hands them over as a set."""
        config: dict[str, Any] = super().to_dict()
        if isinstance(config["target_modules"], (set, list, tuple)):
            config["target_modules"] = sorted(config["target_modules"])
        return config

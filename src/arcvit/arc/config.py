"""The PEFT configuration of an ARC adapter."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from peft import PeftConfig

from arcvit.arc.card import write_model_card
from arcvit.core.errors import UserError, nearest


class _PeftType(str):
    """A string that looks like a member of PEFT's enum of types, which is closed."""

    @property
    def value(self) -> str:
        return str.__str__(self)

    def __str__(self) -> str:
        return f"PeftType.{self.value}"


PEFT_TYPE = _PeftType("ARC")
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
        results: What came out (``task``, ``test_accuracy``, ``val_accuracy``), for the model card.
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
    results: dict[str, Any] | None = field(
        default=None, metadata={"help": "What came out, for the model card."}
    )
    backbone: str | None = field(default=None, metadata={"help": "Name of the backbone."})
    backbone_fingerprint: str | None = field(
        default=None, metadata={"help": "Fingerprint of the backbone's weights."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PEFT_TYPE
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
        if self.layers_pattern and self.layers_to_transform is None:
            raise UserError("layers_pattern needs layers_to_transform, the blocks to adapt.")
        pattern = isinstance(self.target_modules, str) and self.target_modules != "all-linear"
        if pattern and self.layers_to_transform is not None:
            raise UserError(
                "layers_to_transform can't be used with target_modules as a regular expression: put"
                " the blocks into the expression."
            )
        if self.consumers is not None and self.target_modules is None:
            self.target_modules = sorted(self.consumers)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-safe dictionary. Target names are sorted: PEFT hands them over as a set."""
        config: dict[str, Any] = super().to_dict()
        config["peft_type"] = PEFT_TYPE.value
        if isinstance(config["target_modules"], (set, list, tuple)):
            config["target_modules"] = sorted(config["target_modules"])
        return config

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """As PEFT does; a config that knows its task writes the model card anew."""
        super().save_pretrained(save_directory, **kwargs)
        if self.classes is not None or self.results is not None:
            write_model_card(Path(save_directory), self)

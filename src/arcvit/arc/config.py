"""The PEFT configuration of an ARC adapter."""

from dataclasses import dataclass
from typing import Any, Literal

from peft import PeftConfig

from arcvit.arc.config_file import check_config
from arcvit.arc.options import ArcOptions, check_choice
from arcvit.core.errors import UserError


class PeftTypeName(str):
    """A string that looks like a member of PEFT's enum of types, which is closed."""

    @property
    def value(self) -> str:
        """The plain string."""
        return str.__str__(self)

    def __str__(self) -> str:
        return f"PeftType.{self.value}"


PEFT_TYPE = PeftTypeName("ARC")
_MOST_CLASSES = 1_000_000
"""A head is made before it is known what is loaded into it."""


@dataclass
class ArcConfig(ArcOptions, PeftConfig):
    """Configuration of ARC, "Efficient Adaptation of Large Vision Transformer via Adapter
    Re-Composing" (NeurIPS 2023, arXiv 2310.06234); what an adapter is, is in ``ArcOptions``.

    Attributes:
        target_modules: names (or a regular expression) of the modules to adapt: norms of a known
            family, or plain linear layers, whose input is adapted. None: all sites of the family
            that ``variant`` chooses. Expanded to full names when the adapter is made.
        exclude_modules: names (or a regular expression) of modules to leave alone.
        consumers: for a family that isn't known: the linear layers that consume a norm's output,
            by the norm's name, as ``{"norm_a": ["attention.query", "attention.key"]}``; the names
            are relative to the norm's parent.
        layers_pattern: name of the list of blocks, where the index is ambiguous.
        bias: biases of the backbone that train too: ``none``, ``all``, or those of the modules
            adapted (``arc_only``). The adapter's own is ``adapter_bias``.
        modules_to_save: modules trained and saved whole beside the adapter: the head.
        projection: name of another adapter on the model whose projections are used, frozen: only
            coefficients and bias are learned. That adapter must be loaded first.
        num_classes: outputs that the linear layers of ``modules_to_save`` get; None: as they are.
        backbone_fingerprint: fingerprint of the backbone's weights. Where set, loading onto other
            weights is an error; set it to None to load anyway.
    """

    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    consumers: dict[str, list[str]] | None = None
    layers_pattern: list[str] | str | None = None
    bias: Literal["none", "all", "arc_only"] = "none"
    modules_to_save: list[str] | None = None
    projection: str | None = None
    num_classes: int | None = None
    backbone_fingerprint: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        PeftConfig.__post_init__(self)
        self.peft_type = PEFT_TYPE
        check_choice("bias", self.bias, ("none", "all", "arc_only"))
        if self.layers_pattern and self.layers_to_transform is None:
            raise UserError("layers_pattern needs layers_to_transform, the blocks to adapt.")
        pattern = isinstance(self.target_modules, str) and self.target_modules != "all-linear"
        if pattern and self.layers_to_transform is not None:
            raise UserError(
                "layers_to_transform can't be used with target_modules as a regular expression: put"
                " the blocks into the expression."
            )
        if self.num_classes is not None and not 1 <= self.num_classes <= _MOST_CLASSES:
            raise UserError(f"num_classes={self.num_classes}: expected 1 to {_MOST_CLASSES:,}.")
        if self.consumers is not None and self.target_modules is None:
            self.target_modules = sorted(self.consumers)

    @classmethod
    def check_kwargs(cls, **kwargs: Any) -> dict[str, Any]:
        """What stands in a file, if it is of the right kinds."""
        check_config(cls, kwargs)
        return kwargs

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-safe dictionary. Target names are sorted: PEFT hands them over as a set."""
        config: dict[str, Any] = super().to_dict()
        config["peft_type"] = PEFT_TYPE.value
        if isinstance(config["target_modules"], (set, list, tuple)):
            config["target_modules"] = sorted(config["target_modules"])
        return config

"""What can be chosen of the methods that ARC is compared with. No torch."""

from dataclasses import dataclass, field

from arcvit.core.errors import UserError
from arcvit.core.settings import Range, check_settings


@dataclass(frozen=True, kw_only=True)
class VeraOptions:
    """VeRA as PEFT implements it (method vera).

    Attributes:
        r: rank of the shared random projections.
        start: value that the scales of the bottleneck start at.
        dropout: dropout before the down-projection.
        targets: linear layers adapted, by the end of their names.
    """

    r: int = 256
    start: float = 0.1
    dropout: float = 0.0
    targets: list[str] = field(default_factory=lambda: ["qkv", "fc1"])

    def __post_init__(self) -> None:
        ranges = {
            "r": Range(at_least=1),
            "start": Range(above=0),
            "dropout": Range(at_least=0, below=1),
        }
        check_settings("vera", self, ranges)
        if not self.targets:
            raise UserError("vera.targets is empty: expected names of linear layers, as [qkv].")


@dataclass(frozen=True, kw_only=True)
class VptOptions:
    """Visual prompt tuning (method vpt).

    Attributes:
        prompts: learned tokens in a block.
        deep: every block has prompts of its own; otherwise the first alone.
        dropout: dropout of the prompts.
    """

    prompts: int = 50
    deep: bool = True
    dropout: float = 0.1

    def __post_init__(self) -> None:
        ranges = {"prompts": Range(at_least=1), "dropout": Range(at_least=0, below=1)}
        check_settings("vpt", self, ranges)


@dataclass(frozen=True, kw_only=True)
class AdaptFormerOptions:
    """AdaptFormer (method adaptformer).

    Attributes:
        r: width of the bottleneck.
        scale: factor of the branch beside the MLP.
        dropout: dropout in the bottleneck.
    """

    r: int = 64
    scale: float = 0.1
    dropout: float = 0.1

    def __post_init__(self) -> None:
        ranges = {
            "r": Range(at_least=1),
            "scale": Range(above=0),
            "dropout": Range(at_least=0, below=1),
        }
        check_settings("adaptformer", self, ranges)

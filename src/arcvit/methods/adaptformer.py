"""AdaptFormer: a bottleneck beside every MLP (arXiv 2205.13535)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from arcvit.core.settings import Range, check_settings
from arcvit.methods.spec import MethodSpec


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


def build(model: Any, options: AdaptFormerOptions, head: str) -> Any:
    """A branch beside the MLP of every block."""
    from peft import get_peft_model

    from arcvit.methods.tuners.adaptformer import AdaptFormerConfig

    config = AdaptFormerConfig(**dataclasses.asdict(options), modules_to_save=[head])
    return get_peft_model(model, config)


SPEC = MethodSpec(
    name="adaptformer",
    summary="a bottleneck of 64 beside every MLP",
    options=AdaptFormerOptions,
    build=build,
    lr=2e-3,
    saved_as={"peft_type": "ADAPTFORMER"},
    tuner="arcvit.methods.tuners",
)

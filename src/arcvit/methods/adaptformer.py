"""AdaptFormer: a bottleneck beside every MLP (arXiv 2205.13535)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from arcvit.core.settings import Count, Positive, Share
from arcvit.methods.spec import MethodSpec


@dataclass(frozen=True, kw_only=True)
class AdaptFormerOptions:
    """AdaptFormer (method adaptformer).

    Attributes:
        r: width of the bottleneck.
        scale: factor of the branch beside the MLP.
        dropout: dropout in the bottleneck.
    """

    r: Count = 64
    scale: Positive = 0.1
    dropout: Share = 0.1


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
    size="r",
    saved_as={"peft_type": "ADAPTFORMER"},
    tuner="arcvit.methods.tuners",
)

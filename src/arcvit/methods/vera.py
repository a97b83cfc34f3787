"""VeRA ("VeRA: Vector-based Random Matrix Adaptation", arXiv 2310.11454), as PEFT has it."""

from dataclasses import dataclass, field
from typing import Any

from arcvit.core.settings import Count, Positive, Share
from arcvit.methods.spec import MethodSpec


@dataclass(frozen=True, kw_only=True)
class VeraOptions:
    """VeRA as PEFT implements it (method vera).

    Attributes:
        r: rank of the shared random projections.
        start: value that the scales of the bottleneck start at.
        dropout: dropout before the down-projection.
        targets: linear layers adapted, by the end of their names.
    """

    r: Count = 256
    start: Positive = 0.1
    dropout: Share = 0.0
    targets: list[str] = field(default_factory=lambda: ["qkv", "fc1"])


def build(model: Any, options: VeraOptions, head: str) -> Any:
    """PEFT's VeRA on the layers named."""
    from peft import VeraConfig, get_peft_model

    from arcvit.methods.tuners.targets import check_targets

    check_targets(model, "vera.targets", options.targets)
    config = VeraConfig(
        r=options.r,
        d_initial=options.start,
        vera_dropout=options.dropout,
        target_modules=options.targets,
        modules_to_save=[head],
    )
    return get_peft_model(model, config)


SPEC = MethodSpec(
    name="vera",
    summary="scales of shared random projections, rank 256, beside qkv and fc1",
    options=VeraOptions,
    build=build,
    lr=1e-2,
    size="r",
    saved_as={"peft_type": "VERA"},
    folds=True,
)

"""LoRA ("LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685), as PEFT has it."""

from dataclasses import dataclass, field
from typing import Any

from arcvit.core.settings import Count, Share
from arcvit.methods.spec import MethodSpec


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """LoRA as PEFT implements it (method lora).

    Attributes:
        r: rank.
        alpha: scale of the update is alpha / r.
        dropout: dropout before the down-projection.
        targets: linear layers adapted, by the end of their names.
    """

    r: Count = 8
    alpha: Count = 8
    dropout: Share = 0.0
    targets: list[str] = field(default_factory=lambda: ["qkv", "fc1"])


def build(model: Any, options: LoraOptions, head: str) -> Any:
    """PEFT's LoRA on the layers named."""
    from peft import LoraConfig, get_peft_model

    from arcvit.methods.tuners.targets import check_targets

    check_targets(model, "lora.targets", options.targets)
    config = LoraConfig(
        r=options.r,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=options.targets,
        modules_to_save=[head],
    )
    return get_peft_model(model, config)


SPEC = MethodSpec(
    name="lora",
    summary="two matrices of rank 8 beside qkv and fc1",
    options=LoraOptions,
    build=build,
    lr=2e-3,
    size="r",
    saved_as={"peft_type": "LORA"},
    folds=True,
)

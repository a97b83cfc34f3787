"""VPT: learned tokens beside the image's own (arXiv 2203.12119)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from arcvit.core.settings import Count, Share
from arcvit.methods.spec import MethodSpec


@dataclass(frozen=True, kw_only=True)
class VptOptions:
    """Visual prompt tuning (method vpt).

    Attributes:
        prompts: learned tokens in a block.
        deep: every block has prompts of its own; otherwise the first alone.
        dropout: dropout of the prompts.
    """

    prompts: Count = 50
    deep: bool = True
    dropout: Share = 0.1


def build(model: Any, options: VptOptions, head: str) -> Any:
    """Prompts in every block, or in the first."""
    from peft import get_peft_model

    from arcvit.methods.tuners.vpt import VptConfig

    config = VptConfig(**dataclasses.asdict(options), modules_to_save=[head])
    return get_peft_model(model, config)


SPEC = MethodSpec(
    name="vpt",
    summary="50 prompts in every block",
    options=VptOptions,
    build=build,
    lr=5e-3,
    size="prompts",
    saved_as={"peft_type": "VPT"},
    tuner="arcvit.methods.tuners",
)

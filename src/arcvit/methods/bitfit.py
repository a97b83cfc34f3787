"""BitFit: every bias of the backbone ("BitFit", ACL 2022, arXiv 2106.10199)."""

from typing import Any

from arcvit.methods.linear import NO_LAYER, NoOptions
from arcvit.methods.spec import MethodSpec


def build(model: Any, options: NoOptions, head: str) -> Any:
    """LoRA without any LoRA layer, with PEFT's ``bias="all"``."""
    from peft import LoraConfig, get_peft_model

    del options
    config = LoraConfig(target_modules=NO_LAYER, bias="all", modules_to_save=[head])
    return get_peft_model(model, config)


SPEC = MethodSpec(
    name="bitfit",
    summary="every bias",
    options=NoOptions,
    build=build,
    lr=5e-3,
    saved_as={"peft_type": "LORA", "target_modules": NO_LAYER, "bias": "all"},
    folds=True,
)

"""The linear probe: the head alone."""

from dataclasses import dataclass
from typing import Any

from arcvit.methods.spec import MethodSpec

NO_LAYER = "dummy-target-modules"
"""PEFT's mark for an adapter without a layer: it then saves and loads the head like any adapter."""


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """Nothing to choose."""


def build(model: Any, options: NoOptions, head: str) -> Any:
    """LoRA without any LoRA layer."""
    from peft import LoraConfig, get_peft_model

    del options
    return get_peft_model(model, LoraConfig(target_modules=NO_LAYER, modules_to_save=[head]))


SPEC = MethodSpec(
    name="linear",
    summary="nothing",
    options=NoOptions,
    build=build,
    lr=3e-3,
    rates=(1e-3, 3e-3, 1e-2),
    saved_as={"peft_type": "LORA", "target_modules": NO_LAYER, "bias": "none"},
    folds=True,
)

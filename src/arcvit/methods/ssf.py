"""SSF: scale and shift after every operation (arXiv 2210.08823)."""

from typing import Any

from arcvit.methods.linear import NoOptions
from arcvit.methods.spec import MethodSpec


def build(model: Any, options: NoOptions, head: str) -> Any:
    """Scale and shift on every linear layer, convolution and LayerNorm outside the head."""
    from peft import get_peft_model

    from arcvit.methods.tuners.ssf import SsfConfig

    del options
    return get_peft_model(model, SsfConfig(modules_to_save=[head]))


SPEC = MethodSpec(
    name="ssf",
    summary="scale and shift after every operation",
    options=NoOptions,
    build=build,
    lr=5e-3,
    saved_as={"peft_type": "SSF"},
    tuner="arcvit.methods.tuners",
    folds=True,
)

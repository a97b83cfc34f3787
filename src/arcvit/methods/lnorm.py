"""LayerNorm tuning: weight and bias of every LayerNorm (arXiv 2312.11420), as PEFT has it."""

from typing import Any

from arcvit.methods.linear import NoOptions
from arcvit.methods.spec import MethodSpec


def build(model: Any, options: NoOptions, head: str) -> Any:
    """PEFT's LN tuning on every LayerNorm outside the head."""
    import re
    import warnings

    from peft import LNTuningConfig, get_peft_model
    from torch import nn

    from arcvit.core.errors import UserError

    del options
    names = [name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)]
    if not names:
        raise UserError(f"lnorm can't be put on {type(model).__name__}: it has no LayerNorm.")
    # As a regular expression of whole names: in a list, `norm` would also name others' ends.
    config = LNTuningConfig(target_modules="|".join(map(re.escape, names)), modules_to_save=[head])
    with warnings.catch_warnings():
        # PEFT's own LayerNorm tuning meets LayerNorms, which another part of it doesn't expect.
        warnings.filterwarnings("ignore", message="Unsupported layer type")
        return get_peft_model(model, config)


SPEC = MethodSpec(
    name="lnorm",
    summary="every LayerNorm",
    options=NoOptions,
    build=build,
    lr=5e-3,
    saved_as={"peft_type": "LN_TUNING"},
    folds=True,
)

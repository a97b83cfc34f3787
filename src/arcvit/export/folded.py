"""Fold what was learned into a model, which is a plain one of timm or transformers afterwards."""

from peft import PeftModel
from peft.utils import ModulesToSaveWrapper
from torch import nn

from arcvit.core.errors import UserError


def merged_model(model: nn.Module) -> nn.Module:
    """A model with its adapter folded in, in place; a plain model is as it was.

    Raises:
        UserError: the adapter can't be folded.
    """
    if not isinstance(model, PeftModel):
        return model
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except UserError:
        raise
    except ValueError as error:  # sites and PEFT's own layers say in a sentence what is wrong
        raise UserError(str(error)) from error
    for name, module in list(merged.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):  # PEFT's LayerNorm tuning leaves it there
            merged.set_submodule(name, module.modules_to_save[module.active_adapter])
    return merged

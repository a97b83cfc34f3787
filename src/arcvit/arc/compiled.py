"""Models that were compiled before they are adapted."""

from typing import Any, cast

from torch import nn


def without_compiled_wrappers(model: nn.Module) -> nn.Module:
    """A model under its plain names, with what was compiled of it compiled still.

    ``torch.compile(module)`` gives a wrapper, within which all names begin with ``_orig_mod.``: an
    adapter saved under such names fits no other model. Here such a module is compiled in place.

    Args:
        model: the model; it may be compiled, or have compiled modules in it.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if not _is_wrapper(parent) and _is_wrapper(child):
                setattr(parent, name, _in_place(child))
    return _in_place(model) if _is_wrapper(model) else model


def _is_wrapper(module: nn.Module) -> bool:
    return isinstance(module._modules.get("_orig_mod"), nn.Module)


def _in_place(wrapper: nn.Module) -> nn.Module:
    plain = wrapper._modules["_orig_mod"]
    assert plain is not None
    compiler = cast(Any, wrapper).dynamo_ctx
    plain._compiled_call_impl = compiler(plain._call_impl)  # as nn.Module.compile does
    return plain

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
    return hasattr(module, "dynamo_ctx") and hasattr(module, "_orig_mod")


def _in_place(wrapper: nn.Module) -> nn.Module:
    plain = wrapper.get_submodule("_orig_mod")
    compiler = cast(Any, wrapper).dynamo_ctx
    vars(plain).update(_compiled_call_impl=compiler(plain._call_impl))  # as Module.compile does
    return plain

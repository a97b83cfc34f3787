"""Heads of adapters: each may have its own number of classes."""

from collections.abc import Mapping, Sequence

from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn


def resize_head(wrapper: ModulesToSaveWrapper, adapter_name: str, classes: int) -> None:
    """Give an adapter's own head another number of outputs; a new one starts at zero."""
    if adapter_name not in wrapper.modules_to_save:
        return
    head = wrapper.modules_to_save[adapter_name]
    if not isinstance(head, nn.Linear) or head.out_features == classes:
        return
    resized = nn.Linear(
        head.in_features,
        classes,
        bias=head.bias is not None,
        device=head.weight.device,
        dtype=head.weight.dtype,
    )
    for parameter in resized.parameters():
        nn.init.zeros_(parameter)
    wrapper.modules_to_save[adapter_name] = resized.requires_grad_(head.weight.requires_grad)


def resize_heads(model: nn.Module, adapter_name: str, classes: int) -> None:
    """Give all heads of an adapter this number of outputs."""
    for wrapper in _heads(model).values():
        resize_head(wrapper, adapter_name, classes)


def fit_heads(model: nn.Module, adapter_name: str, state: Mapping[str, Tensor]) -> None:
    """Give an adapter's heads the sizes they have in a state that is about to be loaded."""
    for name, wrapper in _heads(model).items():
        weight = state.get(f"{name}.modules_to_save.{adapter_name}.weight")
        if weight is not None:
            resize_head(wrapper, adapter_name, len(weight))


def activate_heads(model: nn.Module, active: Sequence[str]) -> None:
    """Make the heads those of the active adapters, which peft 0.21 forgets after a deletion."""
    for wrapper in _heads(model).values():
        held = [name for name in active if name in wrapper.modules_to_save]
        if held and wrapper.active_adapters != held:
            wrapper.set_adapter(held)


def _heads(model: nn.Module) -> dict[str, ModulesToSaveWrapper]:
    modules = model.named_modules()
    return {name: module for name, module in modules if isinstance(module, ModulesToSaveWrapper)}

"""Heads of adapters: each may have its own number of classes."""

from peft.utils.other import ModulesToSaveWrapper
from torch import nn


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

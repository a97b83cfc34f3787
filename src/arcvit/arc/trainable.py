"""What trains: decided by ownership, and kept where PEFT makes new parameters of old ones."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import ModulesToSaveWrapper
from torch import nn


def adapter_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """What the adapters or saved modules that a module itself holds train."""
    if isinstance(module, BaseTunerLayer):
        for attribute in module.adapter_layer_names:
            yield from getattr(module, attribute).values()
    elif isinstance(module, ModulesToSaveWrapper):
        yield from module.modules_to_save.parameters()


@contextmanager
def keep_frozen(layers: Iterable[BaseTunerLayer], adapter_name: str) -> Iterator[None]:
    """Within the context, what is frozen stays frozen though its parameter is made anew.

    PEFT casts a parameter by replacing it, and the new one requires gradients (peft 0.21): an
    inactive adapter, or one for inference, would train.

    Args:
        layers: the sites of the adapter.
        adapter_name: the adapter that is cast or moved.
    """
    flags = [
        (parameters, parameters[adapter_name].requires_grad)
        for layer in layers
        for attribute in layer.adapter_layer_names
        if adapter_name in (parameters := getattr(layer, attribute))
    ]
    try:
        yield
    finally:
        for parameters, requires_grad in flags:
            parameters[adapter_name].requires_grad_(requires_grad)

"""What is frozen stays so where PEFT makes new parameters of old ones."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from peft.tuners.tuners_utils import BaseTunerLayer


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

"""Frozen weights held in autocast's dtype.

Autocast casts a frozen weight anew in every step, as nothing remembers the cast of what needs no
gradient. Held in that dtype it is cast once, and the results stay equal bit by bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class FrozenWeights:
    """The frozen linear and convolution layers of a model, and their weights in another dtype.

    Args:
        model: the model; what is trained in it stays as it is.
        dtype: autocast's; None: nothing is cast.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype | None) -> None:
        self.dtype = dtype
        self._model = model
        self._held: list[tuple[nn.Parameter, Tensor, Tensor]] = []

    @contextmanager
    def cast(self) -> Iterator[None]:
        """Within the context the weights are cast; the originals come back, whatever happens."""
        self._held = [(p, p.data, p.data.to(self.dtype)) for p in self._castable()]
        try:
            self._show(cast=True)
            yield
        finally:
            self._show(cast=False)
            self._held = []

    @contextmanager
    def originals(self) -> Iterator[None]:
        """Within the context the originals are there, to fold into, to save, to identify.

        The cast ones lie where they lay afterwards: a captured step goes on reading them.
        """
        self._show(cast=False)
        try:
            yield
        finally:
            self._show(cast=True)

    def _show(self, *, cast: bool) -> None:
        for parameter, original, converted in self._held:
            parameter.data = converted if cast else original

    def _castable(self) -> list[nn.Parameter]:
        if self.dtype is None:
            return []
        found: list[nn.Parameter] = []
        for module in self._model.modules():
            if type(module) in (nn.Linear, nn.Conv2d):
                parameters = list(module.parameters(recurse=False))
                if all(map(_is_plain, parameters)):
                    found.extend(parameters)
        return list(dict.fromkeys(found))


def _is_plain(parameter: nn.Parameter) -> bool:
    """Whether it is frozen, in fp32, and not quantized."""
    plain = type(parameter.data) is Tensor and parameter.dtype == torch.float32
    return plain and not parameter.requires_grad

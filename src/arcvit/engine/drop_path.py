"""Stochastic depth that compiles once for all blocks.

Each block drops with a probability of its own. As a number it is part of the compiled code, and
every block would compile anew; as a tensor it is an input.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class _DropPath(nn.Module):
    """Drops whole rows while training, and makes up for them in the others."""

    kept_share: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to (B, ...)."""
        if not self.training:
            return x
        draws = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device)
        return x * ((draws < self.kept_share) / self.kept_share).to(x.dtype)


@contextmanager
def probabilities_in_tensors(model: nn.Module) -> Iterator[None]:
    """Within the context, the stochastic depth of timm and transformers holds tensors."""
    device = next((p.device for p in model.parameters()), None)
    changed: list[tuple[Any, type[nn.Module]]] = []
    found: list[Any] = [module for module in model.modules() if _drops_path(module)]
    try:
        for module in found:
            changed.append((module, type(module)))
            share = torch.tensor(1.0 - module.drop_prob, device=device)
            module.register_buffer("kept_share", share, persistent=False)
            module.__class__ = _DropPath
        yield
    finally:
        for module, kind in changed:
            module.__class__ = kind
            del module.kept_share


def _drops_path(module: Any) -> bool:
    """Whether it is one, and scales what is kept, as all but a switch of timm's do."""
    return (
        type(module).__name__.endswith("DropPath")
        and isinstance(getattr(module, "drop_prob", None), float)
        and module.drop_prob < 1.0
        and getattr(module, "scale_by_keep", True)
    )

"""Whether everything that a method trains has an effect, found out by running the model once.

Some models take the weight of a layer past the layer: timm's BEiT, EVA and Swin-V2 compute
``F.linear(x, self.qkv.weight, ...)``. An adapter around such a layer is never called, and its run
would train a head alone, without a word.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from arcvit.backbones.logits import logits_of

_KEYS = ("k_proj", "key", "k", "to_k")
"""Layers whose bias shifts all attention scores of a query alike, which softmax doesn't see."""


def without_effect(model: nn.Module, size: tuple[int, int]) -> list[str]:
    """Names of the adapted modules, and of parameters elsewhere, that no output depends on.

    Args:
        model: the adapted model. It is run forward and backward once on an image of noise, and
            stays as it is; where its weights aren't in memory, nothing is found out.
        size: height and width of its images.
    """
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if not trained or any(p.device.type == "meta" for p in model.parameters()):
        return []
    like = next(iter(trained.values()))
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *size, generator=generator).to(like)
    with _shaken(model, generator), torch.enable_grad():
        output = logits_of(model(image))
        weights = torch.randn(output.shape, generator=generator).to(output)
        total = (output * weights).sum()
        gradients: Sequence[Tensor | None] = [None] * len(trained)
        if total.requires_grad:
            gradients = torch.autograd.grad(total, list(trained.values()), allow_unused=True)
    layers = [n for n, module in model.named_modules() if isinstance(module, BaseTunerLayer)]
    reached: dict[str, bool] = {}
    for name, gradient in zip(trained, gradients, strict=True):
        owner = next((layer for layer in layers if name.startswith(f"{layer}.")), name)
        has_effect = gradient is not None and bool(gradient.any())
        reached[owner] = reached.get(owner, False) or has_effect or _is_key_bias(name)
    return [name for name, has_effect in reached.items() if not has_effect]


def _is_key_bias(name: str) -> bool:
    *around, leaf = name.split(".")
    return leaf == "bias" and any(part in _KEYS for part in around)


@contextmanager
def _shaken(model: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Within the context nothing is at a start that hides an effect, and nothing is at random.

    Adapters start as the identity, heads at zero, some scales and norms of backbones too.
    """
    training = [module for module in model.modules() if module.training]
    kept: list[tuple[nn.Parameter, Tensor]] = [
        (p, p.detach().clone())
        for p in model.parameters()
        if p.is_floating_point() and (p.requires_grad or p.ndim <= 1)
    ]
    try:
        for module in training:
            module.training = False
        with torch.no_grad():
            for parameter, _ in kept:
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.add_(0.05 * noise)
        yield
    finally:
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)
        for module in training:
            module.training = True

"""Optimizer groups: which part of the model a trained parameter belongs to, by ownership."""

from collections.abc import Sequence
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import ModulesToSaveWrapper
from torch import nn

from arcvit.engine.config import OptimConfig
from arcvit.methods.spec import Part


def parameters_by_part(
    model: nn.Module, head: nn.Module, parts: Sequence[Part] = ()
) -> dict[str, list[nn.Parameter]]:
    """The trained parameters by the method's parts, ``head`` and ``other``.

    Args:
        model: the adapted model.
        head: its head, wrapped by PEFT or not; its parameters belong to no other part.
        parts: the method's parts, by the attribute of its layers that holds them.
    """
    owner = {id(p): "head" for p in head.parameters()}
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            owner.update((id(p), "head") for p in module.parameters())
        if isinstance(module, BaseTunerLayer):
            for part in parts:
                held = getattr(module, part.held_in, None)
                if isinstance(held, nn.Module):
                    owner.update((id(p), part.name) for p in held.parameters())
    found: dict[str, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            found.setdefault(owner.get(id(parameter), "other"), []).append(parameter)
    return found


def adapter_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What the layers of tuners hold, trained or not, each once."""
    held = {
        id(parameter): parameter
        for layer in model.modules()
        if isinstance(layer, BaseTunerLayer)
        for name in layer.adapter_layer_names
        for parameter in getattr(layer, name).parameters()
    }
    return list(held.values())


def optimizer_groups(
    model: nn.Module, head: nn.Module, optim: OptimConfig, parts: Sequence[Part] = ()
) -> list[dict[str, Any]]:
    """One group a part, with its learning rate."""
    assert optim.lr is not None
    multiples = {}
    for part in parts:
        given = getattr(optim, part.rate) if part.rate else None
        multiples[part.name] = part.multiple if given is None else given
    multiples["head"] = optim.head_lr
    return [
        {"params": parameters, "lr": optim.lr * multiples.get(part, 1.0), "name": part}
        for part, parameters in parameters_by_part(model, head, parts).items()
    ]


def count(parameters: list[nn.Parameter]) -> int:
    """Number of values in parameters."""
    return sum(p.numel() for p in parameters)

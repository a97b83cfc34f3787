"""Optimizer groups: which part of the model a trained parameter belongs to, by ownership."""

from typing import Any

from peft.utils.other import ModulesToSaveWrapper
from torch import nn

from arcvit.arc.layer import ArcLayer
from arcvit.engine.config import OptimConfig

_ARC_PARTS = {
    "arc_projection": "projection",
    "arc_coefficients": "coefficients",
    "arc_bias": "bias",
}


def parameters_by_part(model: nn.Module, head: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The trained parameters as ``projection``, ``coefficients``, ``bias``, ``head`` and ``other``.

    Args:
        model: the adapted model.
        head: its head, wrapped by PEFT or not; its parameters belong to no other part.
    """
    parts: dict[str, list[nn.Parameter]] = {}
    owner = {id(p): "head" for p in head.parameters()}
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            owner.update((id(p), "head") for p in module.parameters())
        if isinstance(module, ArcLayer):
            for attribute, part in _ARC_PARTS.items():
                owner.update((id(p), part) for p in getattr(module, attribute).values())
    for parameter in model.parameters():
        if parameter.requires_grad:
            parts.setdefault(owner.get(id(parameter), "other"), []).append(parameter)
    return parts


def optimizer_groups(model: nn.Module, head: nn.Module, optim: OptimConfig) -> list[dict[str, Any]]:
    """One group a part, with its learning rate."""
    assert optim.lr is not None
    multipliers = {
        "projection": optim.projection_lr,
        "coefficients": optim.coefficients_lr,
        "bias": optim.bias_lr,
        "head": optim.head_lr,
        "other": 1.0,
    }
    return [
        {"params": parameters, "lr": optim.lr * multipliers[part], "name": part}
        for part, parameters in parameters_by_part(model, head).items()
    ]


def count(parameters: list[nn.Parameter]) -> int:
    """Number of values in parameters."""
    return sum(p.numel() for p in parameters)

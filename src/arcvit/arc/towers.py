"""Towers: parts of a model with an input of their own, such as CLIP's for images and for text."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from torch import nn

_Value = TypeVar("_Value")

_IMAGE_CHANNELS = 4
"""With more channels than these a convolution is a stage of a network rather than its input."""


def tower_of(name: str, inputs: Iterable[str]) -> str:
    """The tower of a module: the smallest part around it that has an input of its own.

    Args:
        name: qualified name of the module.
        inputs: those of its model.

    Returns:
        The tower's name, ``""`` for the whole model.
    """
    part = name
    while part := part.rpartition(".")[0]:
        if any(_is_inside(entry, part) for entry in inputs):
            return part
    return ""


def outside_text_towers(model: nn.Module, by_name: Mapping[str, _Value]) -> dict[str, _Value]:
    """What isn't in a tower for text, by the names of modules; all where there is no other tower.

    Args:
        model: the model.
        by_name: whatever there is, by the name of its module.
    """
    inputs = inputs_of(model)
    tower = {name: tower_of(name, inputs) for name in by_name}
    takes: dict[str, set[bool]] = {}
    for name, is_text in inputs.items():
        around = [t for t in set(tower.values()) if _is_inside(name, t)]
        takes.setdefault(max(around, key=len, default=""), set()).add(is_text)
    others = {n: value for n, value in by_name.items() if takes.get(tower[n]) != {True}}
    return others or dict(by_name)


def inputs_of(model: nn.Module) -> dict[str, bool]:
    """Layers that take what goes into a model, by name, and whether that is text."""
    inputs: dict[str, bool] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and "pos" not in name.rpartition(".")[2]:
            inputs[name] = True
        elif isinstance(module, (nn.Conv2d, nn.Conv3d)) and module.in_channels <= _IMAGE_CHANNELS:
            inputs[name] = False
    return inputs


def _is_inside(name: str, part: str) -> bool:
    return not part or name.startswith(f"{part}.")

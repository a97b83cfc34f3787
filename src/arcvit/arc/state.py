"""An adapter's saved state, checked before it is loaded: whole and in shape, or an error.

PEFT loads what it finds and only warns of the rest. Half an ARC adapter is worse than none: its
coefficients mean nothing without the projection they were trained with.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from arcvit.arc.layer import ArcLayer
from arcvit.core.errors import UserError

_PROJECTIONS = ("arc_projection", "arc_up")


def check_state(model: nn.Module, adapter_name: str, state: Mapping[str, Tensor]) -> None:
    """Refuse a state that isn't the adapter's.

    Projections alone are welcome: they start an adapter from those of another.

    Args:
        model: the model the adapter is on.
        adapter_name: the adapter.
        state: its state, by the names of the model's parameters.

    Raises:
        UserError: entries of the adapter are missing, belong to no site of it, have another shape,
            or aren't finite. Nothing is loaded then.
    """
    expected = _shapes(model, adapter_name)
    given = {key: value for key, value in state.items() if _is_arc(key)}
    unexpected = [key for key in given if key not in expected]
    missing = [key for key in expected if key not in given]
    if given and all(_attribute(key) in _PROJECTIONS for key in given):
        missing = []
    misshapen = [
        f"{key} {tuple(value.shape)}, expected {expected[key]}"
        for key, value in given.items()
        if key in expected and tuple(value.shape) != expected[key]
    ]
    broken = [key for key, value in given.items() if not _is_finite(value)]
    faults = [
        f"{what}: {_listed(keys)}"
        for what, keys in (
            ("missing", missing),
            ("not of this adapter", unexpected),
            ("misshapen", misshapen),
            ("NaN or infinite", broken),
        )
        if keys
    ]
    if faults:
        raise UserError(
            f"the weights don't fit adapter {adapter_name!r}, and none of them were loaded"
            f" ({'; '.join(faults)}): load the file with the config it was saved with (r, variant,"
            " share, up_projection, adapter_bias), onto the backbone it was trained on."
        )


def _shapes(model: nn.Module, adapter_name: str) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.{attribute}.{adapter_name}": tuple(getattr(layer, attribute)[adapter_name].shape)
        for name, layer in model.named_modules()
        if isinstance(layer, ArcLayer)
        for attribute in layer.adapter_layer_names
        if adapter_name in getattr(layer, attribute)
    }


def _attribute(key: str) -> str | None:
    """The part of a name that says what of an adapter it is."""
    return next((p for p in key.split(".") if p in ArcLayer.adapter_layer_names), None)


def _is_arc(key: str) -> bool:
    return _attribute(key) is not None


def _is_finite(value: Tensor) -> bool:
    return value.device.type == "meta" or bool(torch.isfinite(value).all())


def _listed(keys: Iterable[str], most: int = 4) -> str:
    """Names, the first few of them."""
    names = list(keys)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest

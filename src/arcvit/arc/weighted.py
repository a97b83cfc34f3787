"""Combine adapters into a new one.

Adapters add up: with weights w_i, ``sum_i w_i (x (D_i * c_i) U_i + b_i)``. Side by side (``cat``)
that is again an adapter, exactly, of rank ``sum_i r_i``. Where all use one projection, the weighted
sum of coefficients and biases (``linear``) is exact too, at the same rank.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from arcvit.arc.config import ArcConfig
from arcvit.arc.layer import ArcLayer

COMBINATION_TYPES = ("cat", "linear")
_MUST_AGREE = ("target_modules", "share", "up_projection", "placement", "ffn_placement")


def combined_config(
    configs: Mapping[str, ArcConfig],
    layers: Sequence[ArcLayer],
    names: Sequence[str],
    weights: Sequence[float],
    combination_type: str,
) -> ArcConfig:
    """The config of the combination.

    Raises:
        ValueError: an adapter isn't known, or they can't be combined in this way.
    """
    unknown = [name for name in names if name not in configs]
    if unknown or not names:
        raise ValueError(
            f"unknown adapter(s) {', '.join(map(repr, unknown)) or 'none given'}: expected"
            f" {', '.join(configs)}."
        )
    if len(weights) != len(names):
        raise ValueError(f"{len(weights)} weights for {len(names)} adapters: one for each.")
    if combination_type not in COMBINATION_TYPES:
        raise ValueError(
            f"combination_type {combination_type!r} is not known: expected"
            f" {' or '.join(map(repr, COMBINATION_TYPES))}."
        )
    chosen = [configs[name] for name in names]
    for field in _MUST_AGREE:
        if any(getattr(config, field) != getattr(chosen[0], field) for config in chosen):
            raise ValueError(f"the adapters differ in {field}: they can't be combined.")
    sites = [layer for layer in layers if any(n in layer.arc_coefficients for n in names)]
    for layer in sites:
        if any(name not in layer.arc_coefficients for name in names):
            raise ValueError(
                f"the adapters differ in their sites (not all are at {layer.name!r}): they can't be"
                " combined."
            )
    linear = combination_type == "linear"
    if linear:
        for layer in sites:
            if len({layer.projection_holder[name] for name in names}) > 1:
                raise ValueError(
                    f"the adapters have different projections at {layer.name!r}:"
                    " combination_type='linear' needs a shared one; use 'cat'."
                )
    r = chosen[0].r if linear else sum(config.r for config in chosen)
    ranks = {layer.name: sum(layer.r[name] for name in names) for layer in sites}
    return dataclasses.replace(
        chosen[0],
        r=r,
        rank_pattern=chosen[0].rank_pattern
        if linear
        else {f"^{re.escape(name)}": rank for name, rank in ranks.items() if rank != r},
        projection=names[0] if linear else None,
        modules_to_save=None,
        num_classes=None,
        bias="none",
        adapter_bias=any(config.adapter_bias for config in chosen),
    )


def check_shared(layers: Sequence[ArcLayer], new: str, names: Sequence[str]) -> None:
    """Refuse a combination whose sites share a projection where those of its parts don't.

    Raises:
        ValueError: ranks of their own make sites of different parts equally wide.
    """
    parts: dict[object, object] = {}
    for layer in layers:
        if new in layer.projection_holder:
            of_parts = [layer.projection_holder[name] for name in names]
            if parts.setdefault(layer.projection_holder[new], of_parts) != of_parts:
                raise ValueError(
                    f"the adapters have other projections at {layer.name!r} than at the sites it"
                    " would share one with (rank_pattern): combine adapters with share='none'."
                )


@torch.no_grad()
def fill_combined(
    layer: ArcLayer,
    new: str,
    names: Sequence[str],
    weights: Sequence[float],
    combination_type: str,
) -> None:
    """Set the new adapter's values at a site."""
    if combination_type == "linear":
        coefficients = [layer.arc_coefficients[name] for name in names]
        layer.arc_coefficients[new].copy_(_weighted_sum(coefficients, weights))
    else:
        scaled = [w * layer.arc_coefficients[n] for n, w in zip(names, weights, strict=True)]
        layer.arc_coefficients[new].copy_(torch.cat(scaled))
        layer.down(new).copy_(torch.cat([layer.down(name) for name in names], dim=1))
        # A symmetric up-projection is a view of the down-projection and holds the same already.
        layer.up(new).copy_(torch.cat([layer.up(name) for name in names], dim=0))
    bias = layer.bias_of(new)
    if bias is not None:
        biases = [layer.bias_of(name) for name in names]
        bias.copy_(_weighted_sum([0 * bias if b is None else b for b in biases], weights))


def _weighted_sum(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    stacked = torch.stack(list(tensors))
    return torch.einsum("k,kn->n", stacked.new_tensor(list(weights)), stacked)

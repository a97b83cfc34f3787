"""Combine adapters into a new one.

Adapters add up: with weights w_i, ``sum_i w_i (x D_i C_i U_i + b_i)``. Side by side (``cat``) that
is again an adapter, exactly, of rank ``sum_i r_i``. Where all use one projection, the weighted sum
of cores and biases (``linear``) is exact too, at the same rank.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from arcvit.arc.config import ArcConfig
from arcvit.arc.layer import ArcLayer
from arcvit.arc.plan import PlannedSite

COMBINATION_TYPES = ("cat", "linear")
_MUST_AGREE = ("share", "core", "sites", "up_projection", "placement", "ffn_placement")


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
    sites = [layer for layer in layers if any(map(layer.has, names))]
    for layer in sites:
        if not all(map(layer.has, names)):
            raise ValueError(
                f"the adapters differ in their sites (not all are at {layer.name!r}): they can't be"
                " combined."
            )
    linear = combination_type == "linear"
    for layer in sites if linear else []:
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


def check_sharing(
    plan: Mapping[str, PlannedSite], layers: Sequence[ArcLayer], names: Sequence[str]
) -> None:
    """Refuse a combination whose sites share a projection where those of its parts don't.

    Args:
        plan: the combination at its sites.
        layers: all sites of the model.
        names: the adapters to combine.

    Raises:
        ValueError: ranks of their own make sites of different parts equally wide.
    """
    parts: dict[object, object] = {}
    for layer in layers:
        if layer.name in plan:
            of_parts = [layer.projection_holder[name] for name in names]
            if parts.setdefault(plan[layer.name].group, of_parts) != of_parts:
                raise ValueError(
                    f"the adapters have other projections at {layer.name!r} than at the sites it"
                    " would share one with (rank_pattern): combine adapters with share='none'."
                )


@torch.no_grad()
def combine(
    layers: Sequence[ArcLayer],
    new: str,
    names: Sequence[str],
    weights: Sequence[float],
    combination_type: str,
) -> None:
    """Set the values of the combination, which is on the model already."""
    for layer in layers:
        if not layer.has(new):
            continue
        made, parts = layer.factors(new), [layer.factors(name) for name in names]
        if combination_type == "linear":
            made.core.copy_(_weighted_sum([part.core for part in parts], weights))
        else:
            scaled = [w * part.core for w, part in zip(weights, parts, strict=True)]
            full = made.core.ndim == 2
            made.core.copy_(torch.block_diag(*scaled) if full else torch.cat(scaled))
            made.down.copy_(torch.cat([part.down for part in parts], dim=1))
            # A symmetric up-projection is a view of the down-projection and holds the same already.
            made.up.copy_(torch.cat([part.up for part in parts], dim=0))
        if made.bias is not None:
            zero = torch.zeros_like(made.bias)
            biases = [zero if part.bias is None else part.bias for part in parts]
            made.bias.copy_(_weighted_sum(biases, weights))


def _weighted_sum(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    stacked = torch.stack(list(tensors))
    return torch.einsum("k,k...->...", stacked.new_tensor(list(weights)), stacked)

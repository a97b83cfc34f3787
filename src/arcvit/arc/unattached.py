"""The adapters in a file, without putting them on a model.

d  width, r  bottleneck rank

PEFT goes through the whole model for every adapter that it puts there. Where many come and go on
one model, what a file holds is enough: its config says where each part belongs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arcvit.arc.config import ArcConfig
from arcvit.arc.functional import Factors
from arcvit.arc.layer import ArcLayer
from arcvit.arc.plan import Group, PlannedSite, plan_adapter, wrap
from arcvit.arc.state import check_state
from arcvit.arc.variants import SHARED, compose
from arcvit.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class UnattachedSite:
    """An adapter at one site, and what that site is.

    Attributes:
        planned: the site.
        factors: the adapter; projections that sites share are one tensor.
    """

    planned: PlannedSite
    factors: Factors


def unattached(
    config: ArcConfig, state: Mapping[str, Tensor], model: nn.Module
) -> dict[str, UnattachedSite]:
    """An adapter at each of its sites, by their names, in single precision.

    Args:
        config: of the adapter.
        state: its own weights, without head, by their names in the plain model.
        model: the plain model, or one whose sites were wrapped; it needs no weights.

    Raises:
        UserError: the weights aren't all of the adapter, and that alone, or it doesn't stand alone.
    """
    if config.projection is not None:
        raise UserError(
            f"it uses the projections of another adapter (projection={config.projection!r})."
        )
    plan = plan_adapter(config, model)
    if not plan:
        raise UserError("its target_modules name no module of the backbone.")
    holders: dict[Group, str] = {}
    expected: dict[str, Tensor] = {}
    with torch.device("meta"):
        for name, planned in plan.items():
            shape, width = planned.shape, planned.site.width
            first = holders.setdefault(planned.group, name) == name
            parts = {**(shape.shared(width) if first else {}), **shape.own(width)}
            expected |= {f"{name}.{kind}": tensor for kind, tensor in parts.items()}
    check_state(expected, state)
    single = {key: value.float() for key, value in state.items()}
    found: dict[str, UnattachedSite] = {}
    for name, planned in plan.items():
        holder = holders[planned.group]
        keys = {kind: f"{name}.{kind}" for kind in planned.shape.own(1)}
        keys |= {kind: f"{holder}.{kind}" for kind in SHARED}
        parts = {kind: single[key] for kind, key in keys.items() if key in single}
        found[name] = UnattachedSite(planned=planned, factors=compose(parts))
    return found


def wrap_sites(model: nn.Module, sites: Mapping[str, PlannedSite]) -> None:
    """Wrap sites, by their names, where they aren't wrapped; no adapter is put there."""
    for name, planned in sites.items():
        parent, _, attribute = name.rpartition(".")
        holder = model.get_submodule(parent)
        holder = holder.base_layer if isinstance(holder, ArcLayer) else holder
        module = getattr(holder, attribute)
        if not isinstance(module, ArcLayer):
            setattr(holder, attribute, wrap(planned, model, module, []))

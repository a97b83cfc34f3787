"""Which sites of the known families an adapter is put at where nobody names them."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from arcvit.arc.families import rules_for
from arcvit.arc.proof import CantRun, Objection, Suspect, declared_calls, objections
from arcvit.arc.sites import Site
from arcvit.arc.towers import outside_text_towers

_PLACES = {"att": "at MHA", "ffn": "at the FFN"}


def choose_sites(
    model: nn.Module, sites: Mapping[str, Site], roles: Sequence[str]
) -> dict[str, Site]:
    """The sites of these roles in a model's vision tower.

    Code that nobody has read for its rules is run to see whether its sites can be folded. Where
    they can't, all sites of a role move to the input of the linear layer that would take the
    adapter, if that is one layer.

    Args:
        model: the plain model.
        sites: all sites of the known families.
        roles: ``att``, ``ffn`` or both.
    """
    chosen = {
        name: site for name, site in outside_text_towers(model, sites).items() if site.role in roles
    }
    chosen = _with_proof(model, chosen)
    for role in roles:
        _warn_of_gaps(model, chosen, role)
    return chosen


def _with_proof(model: nn.Module, sites: dict[str, Site]) -> dict[str, Site]:
    unproved = [site for site in sites.values() if not site.proved]
    suspects = [
        Suspect(
            name=site.name,
            module=model.get_submodule(site.name),
            on_input=site.on_input,
            consumers={name: model.get_submodule(name) for name in site.consumers},
        )
        for site in unproved
    ]
    found: dict[str, Objection] = {}
    ran = False
    for call in declared_calls(model) if suspects else []:
        try:
            found |= objections(model, suspects, call)
            ran = True
        except CantRun:
            continue
    if not ran:
        return sites
    # A layer that isn't called can't carry an adapter itself either.
    moving = {site.role for site in unproved if site.name in found and found[site.name].called}
    settled: dict[str, Site] = {}
    for site in sites.values():
        objection = found.get(site.name)
        moves = site.role in moving and len(site.consumers) == 1 and not site.after
        if moves and (not objection or objection.called):
            (name,) = site.consumers
            changes: dict[str, Any] = {"name": name, "on_input": True, "residual_of": None}
            site = dataclasses.replace(site, proved=True, **changes)
        elif objection:
            site = dataclasses.replace(site, unfoldable=objection.reason)
        else:
            site = dataclasses.replace(site, proved=True)
        settled[site.name] = site
    return settled


def _warn_of_gaps(model: nn.Module, sites: Mapping[str, Site], role: str) -> None:
    """Tell where only some blocks of the known families get an adapter."""
    blocks = {
        name: block
        for name, block in model.named_modules()
        if any(rule.role == role for rule in rules_for(block))
        or (role == "att" and _is_other_block(block))
    }
    known = list(outside_text_towers(model, blocks))
    of_role = [site.name for site in sites.values() if site.role == role]
    adapted = [block for block in known if any(name.startswith(f"{block}.") for name in of_role)]
    if sites and len(adapted) < len(known):
        missing = [block for block in known if block not in adapted]
        kind = type(model.get_submodule(missing[0])).__name__
        warnings.warn(
            f"{len(adapted)} of {len(known)} blocks have an adapter {_PLACES[role]}: {kind} at"
            f" {missing[0]!r} has no place for one that is known (consumers= can name it).",
            stacklevel=2,
        )


def _is_other_block(module: nn.Module) -> bool:
    children = [name for name, _ in module.named_children()]
    has_norm = any(name.startswith("norm") for name in children)
    return "attn" in children and has_norm and not rules_for(module)

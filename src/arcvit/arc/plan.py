"""What an adapter will be at each site, decided and checked before the model is touched."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

from peft.tuners.tuners_utils import _maybe_include_all_linear_layers, check_target_module_exists
from peft.utils.other import get_pattern_key
from torch import nn

from arcvit.arc.choice import choose_sites
from arcvit.arc.config import ArcConfig
from arcvit.arc.fold import Consumer
from arcvit.arc.layer import ArcLayer, ArcLinear, Placement
from arcvit.arc.options import VARIANTS
from arcvit.arc.sites import Site, find_sites, linear_site, named_site
from arcvit.arc.suggest import unknown_family
from arcvit.arc.towers import inputs_of, tower_of
from arcvit.arc.variants import AdapterShape
from arcvit.core.errors import UserError

_BEFORE_NORM = "it sits before the norm (placement='before_norm'), which is not linear"
_RESIDUAL = "it changes the residual stream (ffn_placement='residual'), not one layer's input"


Group = tuple[str, str, int, int]


@dataclass(frozen=True, kw_only=True)
class PlannedSite:
    """An adapter at a site.

    Attributes:
        site: the site.
        placement: where the adapter acts.
        unfoldable: why it can't be folded there; None: it can.
        shape: what it is.
        group: the sites that are equal in it share a projection: tower, name, width and rank.
        lender: the site, and the adapter at it, whose projection is used instead; or None.
    """

    site: Site
    placement: Placement
    unfoldable: str | None
    shape: AdapterShape
    group: Group
    lender: tuple[ArcLayer, str] | None


def plan_adapter(config: ArcConfig, model: nn.Module) -> dict[str, PlannedSite]:
    """Plan an adapter at all its sites, by their full names in the order of the model's modules.

    Empty where nothing is targeted, of which PEFT tells.

    Raises:
        UserError: a target can't carry the adapter that the config asks for.
    """
    sites = find_sites(model, config.sites)
    if config.target_modules is None:
        sites = choose_sites(model, sites, VARIANTS[config.variant])
    names = expand_targets(config, model, sites)
    inputs = inputs_of(model)
    return {name: plan_site(config, model, sites, inputs, name) for name in names}


def expand_targets(config: ArcConfig, model: nn.Module, sites: Mapping[str, Site]) -> list[str]:
    """The full names of the modules that a config targets.

    Names match as in PEFT, but for ``layers_to_transform``: PEFT reads a block's index from
    ``model.blocks.3.norm1`` but not from ``blocks.3.norm1``, and ignores it for a module that is
    named in full, as all sites are that are found by themselves.

    Raises:
        UserError: no target is named, and the model is of no known family.
    """
    if config.target_modules is None:
        config.target_modules = list(sites)
        if not config.target_modules:
            raise unknown_family(model)
    _maybe_include_all_linear_layers(config, model)
    without_layers = SimpleNamespace(
        target_modules=config.target_modules,
        exclude_modules=config.exclude_modules,
        modules_to_save=config.modules_to_save,
    )
    return [
        name
        for name in plain_names(model)
        if bool(check_target_module_exists(without_layers, name)) and _in_blocks(config, name)
    ]


def plain_names(model: nn.Module) -> list[str]:
    """The names of a model's modules as if it had no adapters, in order."""
    names: dict[int, str] = {}

    def visit(module: nn.Module, name: str) -> None:
        names.setdefault(id(module), name)
        inner = module.base_layer if isinstance(module, ArcLayer) else module
        for child_name, child in inner.named_children():
            if id(child) not in names:
                visit(child, f"{name}.{child_name}".removeprefix("."))

    visit(model, "")
    return list(names.values())[1:]


def plan_site(
    config: ArcConfig,
    model: nn.Module,
    sites: Mapping[str, Site],
    inputs: Iterable[str],
    name: str,
) -> PlannedSite:
    """Plan an adapter at one site.

    Args:
        config: the adapter's config.
        model: the model it goes on.
        sites: those of the known families.
        inputs: layers that take what goes into the model.
        name: full name of the module.

    Raises:
        UserError: the site can't carry the adapter.
    """
    site = _site(config, model, sites, name)
    present = model.get_submodule(name)
    placement, unfoldable = _place(config, site)
    if isinstance(present, ArcLayer) and present.placement != placement:
        raise UserError(
            f"{name!r} is adapted at its {present.placement} already: adapters on one model must"
            " agree on sites, placement and ffn_placement."
        )
    r = config.rank_pattern.get(get_pattern_key(config.rank_pattern.keys(), name), config.r)
    if r > site.width:
        raise UserError(
            f"r={r} is larger than the width {site.width} of {name!r}: expected"
            f" 1 <= r <= {site.width}."
        )
    shared_by = {"role": site.role, "all": "all", "none": name}[config.share]
    return PlannedSite(
        site=site,
        placement=placement,
        unfoldable=unfoldable,
        shape=AdapterShape.of(config, role=site.role, r=r),
        group=(tower_of(name, inputs), shared_by, site.width, r),
        lender=_lender(config, present, name, r),
    )


def wrap(
    planned: PlannedSite, model: nn.Module, module: nn.Module, active_adapters: list[str]
) -> ArcLayer:
    """The layer that carries adapters at a site, around its module; it isn't put in place."""
    site = planned.site

    def consumer(name: str) -> Consumer:
        parent, _, attribute = name.rpartition(".")
        # By their parents, where a wrapper may take their place: a deep copy stays consistent.
        holder = module if parent == site.name else model.get_submodule(parent)
        return Consumer(holder, attribute, after=site.after)

    residual = site.residual_of if planned.placement == "residual" else None
    kind = ArcLinear if isinstance(module, nn.Linear) else ArcLayer
    layer = kind(
        module,
        name=site.name,
        width=site.width,
        placement=planned.placement,
        consumers=tuple(map(consumer, site.consumers)),
        unfoldable=planned.unfoldable,
        proved=site.proved,
        residual_module=None if residual is None else model.get_submodule(residual),
        active_adapters=active_adapters,
    )
    return layer.train(module.training)


def _in_blocks(config: ArcConfig, name: str) -> bool:
    chosen = config.layers_to_transform
    if chosen is None or chosen == []:
        return True
    index = _block_index(name, config.layers_pattern)
    return index is not None and index in ([chosen] if isinstance(chosen, int) else chosen)


def _block_index(name: str, patterns: list[str] | str | None) -> int | None:
    for pattern in [patterns] if isinstance(patterns, str) else patterns or [""]:
        before = rf"(?:^|\.){pattern}\." if pattern else r"(?:^|\.)"
        if match := re.search(rf"{before}(\d+)\.", name):
            return int(match.group(1))
    return None


def _site(config: ArcConfig, model: nn.Module, sites: Mapping[str, Site], name: str) -> Site:
    consumers = config.consumers or {}
    pattern = next((p for p in consumers if f".{name}".endswith(f".{p}")), None)
    if pattern is not None:
        return named_site(model, name, consumers[pattern])
    site = sites.get(name) or linear_site(model, name)
    parent, _, attribute = name.rpartition(".")
    if site.consumers == (name,) and Consumer(model.get_submodule(parent), attribute).is_bypassed:
        raise UserError(
            f"{name!r} can't carry an adapter: its module takes its weight and doesn't call it, so"
            " the adapter would have no effect. Adapt the norm before it."
        )
    return site


def _place(config: ArcConfig, site: Site) -> tuple[Placement, str | None]:
    """Where the adapter acts, and why it can't be folded there, if it can't."""
    if site.after:
        return "output", site.unfoldable
    if config.ffn_placement == "residual" and site.role == "ffn":
        if site.residual_of is None:
            raise UserError(
                f"ffn_placement='residual' is the authors' Swin code, but {site.name!r} is not in a"
                " Swin block: leave it at 'paper'."
            )
        return "residual", _RESIDUAL
    if site.on_input:
        return "input", site.unfoldable
    if config.placement == "before_norm":
        return "input", _BEFORE_NORM
    return "output", site.unfoldable


def _lender(
    config: ArcConfig, present: nn.Module, name: str, r: int
) -> tuple[ArcLayer, str] | None:
    """Where another adapter's projection at this site is held, if it is to be used."""
    lender = config.projection
    if lender is None:
        return None
    if not isinstance(present, ArcLayer) or lender not in present.projection_holder:
        raise UserError(
            f"adapter {lender!r} has no projection at {name!r}: expected target_modules and variant"
            " as that adapter has them."
        )
    if present.r[lender] != r:
        raise UserError(
            f"r={r} disagrees with the projection of adapter {lender!r} at {name!r}, which has"
            f" r={present.r[lender]}: use the same r."
        )
    return present.projection_holder[lender]

"""Adapters as inputs of one graph: a backbone once, and of each task its numbers alone.

B images, R rows, K labels, d width, r bottleneck rank, L sites of a group

The graph takes ``pixel_values`` (B, 3, H, W) and, for each group of sites that share a projection
(``att`` before MHA, ``ffn`` before the FFN, with ``.WIDTH`` where a backbone has several)::

    GROUP.projection    (d, r)      D; its transpose leads out of the bottleneck
    GROUP.up            (r, d)      only where a task has an up-projection of its own
    GROUP.coefficients  (R, L, r)   C of each site; (R, L, r, r) where a task has full cores
    GROUP.bias          (R, L, d)   b of each site
    head.weight         (K, d)
    head.bias           (K,)
    head.means          (K, d)      mean features of each class, of length one

and gives ``logits`` (B, K) and ``likeness`` (B, K), the cosine of the features and each mean. What
isn't given is zero: no group, and it is the plain backbone. r and K may differ from task to task.

R is 1, one task for the whole batch, or B, where every image has coefficients and bias of its own.
Several tasks pass in one batch so: their projections beside one another along r, their heads along
K, and in each image's row zeros for the coefficients of the others. Of the logits each image takes
those of its own task.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from peft import PeftConfig, PeftModel
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn

from arcvit.arc.call import HoldsFactors, carried
from arcvit.arc.config import ArcConfig
from arcvit.arc.functional import Factors
from arcvit.arc.layer import ArcLayer
from arcvit.arc.plan import Group, PlannedSite, plan_adapter
from arcvit.arc.unattached import wrap_sites
from arcvit.backbones.logits import logits_of
from arcvit.core.errors import UserError
from arcvit.export.adapted import AdaptedModel
from arcvit.methods.shareable import why_not_shared


@dataclass(frozen=True, kw_only=True)
class SiteGroup:
    """Sites that share a projection.

    Attributes:
        name: what its inputs are called by.
        sites: those of the backbone, by name, in order.
    """

    name: str
    sites: Mapping[str, PlannedSite]

    @property
    def width(self) -> int:
        """Of its sites, d."""
        return next(iter(self.sites.values())).site.width


@dataclass(frozen=True, kw_only=True)
class InputForm:
    """What a graph takes: it is the same for all tasks of one variant on one backbone.

    Attributes:
        groups: of all tasks.
        separate_up: whether a task has up-projections of its own.
        full_core: whether a task has full cores.
        features: what the head reads, d.
    """

    groups: tuple[SiteGroup, ...]
    separate_up: bool
    full_core: bool
    features: int

    @property
    def shapes(self) -> dict[str, tuple[int | str, ...]]:
        """The shapes of all inputs but the images, by name; what may vary is a name itself."""
        found: dict[str, tuple[int | str, ...]] = {}
        for group in self.groups:
            rank, sites, width = f"{group.name}.rank", len(group.sites), group.width
            core = (rank, rank) if self.full_core else (rank,)
            found[f"{group.name}.projection"] = (width, rank)
            if self.separate_up:
                found[f"{group.name}.up"] = (rank, width)
            found[f"{group.name}.coefficients"] = ("rows", sites, *core)
            found[f"{group.name}.bias"] = ("rows", sites, width)
        found["head.weight"] = found["head.means"] = ("labels", self.features)
        found["head.bias"] = ("labels",)
        return found


def input_form(runs: Sequence[AdaptedModel]) -> InputForm:
    """The form that serves all of these runs.

    Raises:
        UserError: one can't share a graph with the others: it changes the backbone, its backbone,
            head or image size is another, or it has other sites.
    """
    first = runs[0]
    groups: dict[str, SiteGroup] = {}
    shapes = []
    for run in runs:
        _check_alike(run, first)
        for group in _groups(run):
            _check_fits(run, group, groups)
            groups.setdefault(group.name, group)
            shapes += [planned.shape for planned in group.sites.values()]
    return InputForm(
        groups=tuple(groups.values()),
        separate_up=any(shape.separate_up for shape in shapes),
        full_core=any(shape.full_core for shape in shapes),
        features=_head(first).in_features,
    )


def adapter_inputs(run: AdaptedModel, form: InputForm) -> dict[str, np.ndarray]:
    """A task as the graph of this form takes it, ``float32``, by the names of its inputs.

    Args:
        run: one of the runs that the form is of, or of the same variant on the same backbone.
        form: of the graph.
    """
    given: dict[str, Tensor] = {}
    for group in _groups(run):
        factors = _factors(run, group)
        given[f"{group.name}.projection"] = factors[0].down
        if form.separate_up:
            given[f"{group.name}.up"] = factors[0].up
        cores = [f.core.diag() if form.full_core and f.core.ndim == 1 else f.core for f in factors]
        given[f"{group.name}.coefficients"] = torch.stack(cores)[None]
        biases = [f.bias for f in factors if f.bias is not None]
        if biases:
            given[f"{group.name}.bias"] = torch.stack(biases)[None]
    head = _head(run)
    given["head.weight"] = head.weight
    if head.bias is not None:
        given["head.bias"] = head.bias
    if run.means is not None:
        given["head.means"] = F.normalize(run.means.float())
    return {
        name: np.ascontiguousarray(value.detach().float().numpy()) for name, value in given.items()
    }


class AdaptersAsInputs(nn.Module):
    """A backbone whose adapter and head come with the images.

    Args:
        run: a run on the backbone; its model stays as it is.
        form: what is given beside the images.
    """

    def __init__(self, run: AdaptedModel, form: InputForm) -> None:
        super().__init__()
        assert isinstance(run.model, PeftModel)
        model = copy.deepcopy(run.model).unload()
        model.set_submodule(run.task.head, nn.Identity())
        wrap_sites(model, {n: site for group in form.groups for n, site in group.sites.items()})
        self.model = model.requires_grad_(False).eval()
        self.form = form

    def forward(self, pixel_values: Tensor, given: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits and likeness, both (B, K).

        Args:
            pixel_values: (B, 3, H, W).
            given: all other inputs, by name; R is B.
        """
        with carried(_GivenCall(self.form, given)):
            features = logits_of(self.model(pixel_values)).flatten(1)
        logits = F.linear(features, given["head.weight"], given["head.bias"])
        return logits, F.normalize(features) @ given["head.means"].mT


class _GivenCall:
    """A call of the model whose adapters are tensors of the graph."""

    def __init__(self, form: InputForm, given: Mapping[str, Tensor]) -> None:
        self._at: dict[str, Factors] = {}
        for group in form.groups:
            down = given[f"{group.name}.projection"]
            up = given[f"{group.name}.up"] if form.separate_up else down.mT
            core, bias = (given[f"{group.name}.{kind}"] for kind in ("coefficients", "bias"))
            for place, name in enumerate(group.sites):
                own = core[:, place] if form.full_core else core[:, place : place + 1]
                self._at[name] = Factors(down, own, up, bias[:, place : place + 1])

    def rows_at(self, site: HoldsFactors) -> Factors | None:
        """The adapters of all rows at a site."""
        return self._at.get(site.name)


def _groups(run: AdaptedModel) -> list[SiteGroup]:
    """The groups of a run's sites, in the order of the backbone."""
    config = _config(run)
    if not isinstance(config, ArcConfig):
        return []
    members: dict[Group, dict[str, PlannedSite]] = {}
    for name, planned in plan_adapter(copy.copy(config), run.base).items():
        members.setdefault(planned.group, {})[name] = planned
    names = _names(list(members))
    return [SiteGroup(name=names[key], sites=sites) for key, sites in members.items()]


def _factors(run: AdaptedModel, group: SiteGroup) -> list[Factors]:
    """A run's own adapter at the sites of a group."""
    assert isinstance(run.model, PeftModel)
    name = run.model.active_adapter
    layers = {m.name: m for m in run.model.modules() if isinstance(m, ArcLayer)}
    return [layers[site].factors(name) for site in group.sites]


def _names(groups: Sequence[Group]) -> dict[Group, str]:
    """What groups are called: as much of tower, role, width and rank as tells them apart."""
    for form in ("{1}", "{1}.{2}", "{1}.{2}.r{3}", "{0}.{1}.{2}.r{3}"):
        names = {group: form.format(*group) for group in groups}
        if len(set(names.values())) == len(names):
            break
    return names


def _check_alike(run: AdaptedModel, first: AdaptedModel) -> None:
    why = why_not_shared(_config(run), run.task.head)
    if why is not None:
        raise UserError(f"{run.name!r} can't be inputs of a graph: {why}; export it by itself.")
    for what, (of, shown) in _ALIKE.items():
        if of(run) != of(first):
            raise UserError(
                f"{run.name!r} and {first.name!r} can't share a graph: their {what} differ"
                f" ({shown(run)} and {shown(first)}); export them by themselves."
            )


def _check_fits(run: AdaptedModel, group: SiteGroup, others: Mapping[str, SiteGroup]) -> None:
    """Refuse sites that others have in another way: the graph has one place for each."""
    own = _places(group)
    for other in others.values():
        places = _places(other)
        if own != places and (other.name == group.name or own.keys() & places.keys()):
            raise UserError(
                f"{run.name!r} can't share a graph with the runs before it: its adapter has other"
                f" sites ({group.name}: {len(own)}, theirs: {len(places)}), or shares its"
                " projection among others; export runs of one variant together."
            )


def _places(group: SiteGroup) -> dict[str, str]:
    return {name: planned.placement for name, planned in group.sites.items()}


def _config(run: AdaptedModel) -> PeftConfig | None:
    if not isinstance(run.model, PeftModel):
        return None
    config: PeftConfig = run.model.peft_config[run.model.active_adapter]
    return config


def _head(run: AdaptedModel) -> nn.Linear:
    """A run's own head.

    Raises:
        UserError: it isn't linear.
    """
    head = run.base.get_submodule(run.task.head)
    if isinstance(head, ModulesToSaveWrapper):
        head = head.modules_to_save[head.active_adapter]
    if not isinstance(head, nn.Linear):
        raise UserError(
            f"{run.name!r} can't be inputs of a graph: its head is {type(head).__name__}, and"
            " only a linear one can be given; export it by itself."
        )
    return head


_Of = Callable[[AdaptedModel], object]

_ALIKE: dict[str, tuple[_Of, _Of]] = {
    # First, as positions that were fitted to another size make other weights of a backbone.
    "image sizes": (lambda run: run.preprocessing.size, lambda run: run.preprocessing.size),
    # Weights go by their fingerprint: they may have moved, and are what counts.
    "backbones": (
        lambda run: run.task.backbone.fingerprint or run.task.backbone.name,
        lambda run: (run.task.backbone.name, run.task.backbone.fingerprint),
    ),
    "heads": (lambda run: run.task.head, lambda run: run.task.head),
}
"""What must be the same, and how it is told."""

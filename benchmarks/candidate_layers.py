"""What the candidates of ``candidates.py`` put on a timm ViT, and where their bases come from.

d  width, r  bottleneck rank, o  outputs of a linear layer, k  consumers in it

All of them are linear in the norm's output n, share a basis D between the layers of a role (before
MHA, ``att``; before the FFN, ``ffn``), and start as the plain backbone.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arcvit.arc.activations import Moments, principal
from arcvit.arc.config import PeftTypeName
from arcvit.arc.functional import Factors
from arcvit.arc.layer import ArcLayer, ArcLinear, bypassed
from arcvit.arc.proof import evaluating
from arcvit.arc.register import register_tuner
from arcvit.core.errors import UserError
from arcvit.methods.tuners.tuner import MethodConfig, MethodLayer, MethodModel

CONSUMERS = {"qkv": 3, "fc1": 1}
"""Linear layers of a timm ViT that consume a norm's output, and how many consumers each holds."""

_ROLES = {"qkv": "att", "fc1": "ffn", "norm1": "att", "norm2": "ffn"}
_ADAPTER = "default"


def role_of(name: str) -> str | None:
    """``att`` or ``ffn`` of a norm or its consumer, by its qualified name; None: neither."""
    return _ROLES.get(name.rpartition(".")[2])


def consumers_of(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that consume a norm's output, wrapped or not, by their names."""
    return {n: m for n, m in model.named_modules() if n.rpartition(".")[2] in CONSUMERS}


@dataclass(frozen=True)
class Directions:
    """The norm outputs of a role on images, pooled over its layers.

    Attributes:
        vectors: principal directions by falling variance, as columns, (d, d).
        variances: along them, (d,); None where they come from a file.
        mean: mean over the layers of each layer's mean, (d,); None where they come from a file.
    """

    vectors: Tensor
    variances: Tensor | None = None
    mean: Tensor | None = None


@torch.no_grad()
def directions_of(model: nn.Module, batches: Iterable[Any]) -> dict[str, Directions]:
    """Look at the plain backbone's norm outputs, by role.

    Args:
        model: a timm ViT, adapted or not; adapters of ARC are passed by, others must start as the
            identity.
        batches: its inputs, (B, C, H, W) each.

    Raises:
        UserError: activations aren't finite, or the model has no such layers.
    """
    watched = {name: (module, Moments()) for name, module in consumers_of(model).items()}
    with ExitStack() as restored:
        restored.enter_context(bypassed(m for m in model.modules() if isinstance(m, ArcLayer)))
        restored.enter_context(evaluating(model))
        for module, moments in watched.values():
            hook = module.register_forward_pre_hook(lambda _, given, to=moments: to.add(given[0]))
            restored.callback(hook.remove)
        for batch in batches:
            model(batch)
    found = {}
    for role in ("att", "ffn"):
        of_role = [m for name, (_, m) in watched.items() if role_of(name) == role and m.rows]
        if not of_role:
            raise UserError(f"{type(model).__name__}: expected a timm ViT with qkv and fc1.")
        covariance = torch.stack([moments.covariance() for moments in of_role]).mean(0)
        if not bool(covariance.isfinite().all()):
            raise UserError(f"the activations before {role} are NaN or infinite on these images.")
        variances, vectors = principal(covariance)
        mean = torch.stack([moments.mean() for moments in of_role]).mean(0)
        found[role] = Directions(vectors=vectors, variances=variances, mean=mean)
    return found


def read_directions(file: str | Path) -> dict[str, Directions]:
    """The eigenvectors in a file: ``{"att": (d, d), "ffn": (d, d)}``, by ``torch.save``.

    Raises:
        UserError: it can't be read, or holds something else.
    """
    try:
        held = torch.load(file, map_location="cpu", weights_only=True)
        found = {role: Directions(vectors=held[role].double()) for role in ("att", "ffn")}
    except Exception as error:  # torch.load raises what it likes
        raise UserError(
            f"basis {file} can't be read: expected what `candidates.py basis` writes"
            f" ({type(error).__name__})."
        ) from error
    return found


def leading(vectors: Tensor, r: int, width: int) -> Tensor:
    """The r first directions of a basis, (d, r).

    Raises:
        UserError: the basis is of another width.
    """
    if vectors.shape != (width, width):
        raise UserError(f"the basis is {tuple(vectors.shape)}: expected {(width, width)}.")
    return vectors[:, :r]


def read_by_consumers(weights: Iterable[Tensor], r: int) -> Tensor:
    """The r leading directions that layers read, (d, r): right singular vectors of their weights.

    Args:
        weights: of the layers, (o, d) each.
    """
    stacked = torch.cat([weight.detach().double().cpu() for weight in weights])
    _, vectors = principal(stacked.mT @ stacked)
    return vectors[:, :r]


def arc_sites(model: nn.Module) -> list[ArcLayer]:
    """The sites of ARC on a model."""
    return [m for m in model.modules() if isinstance(m, ArcLayer) and m.has(_ADAPTER)]


@torch.no_grad()
def set_arc(
    model: nn.Module, directions: dict[str, Directions], *, whiten: bool, output_basis: bool
) -> None:
    """Overwrite the projections of ARC on a model, and the mean directions where it has some.

    Args:
        model: the adapted model.
        directions: of its roles.
        whiten: divide D's columns by the deviation along them; U stays as it is.
        output_basis: U of the directions that the consumers read.
    """
    for site in arc_sites(model):
        role = role_of(site.name)
        if role is None:  # after a sub-layer: its projection is that of a site before it
            continue
        found = directions[role]
        if isinstance(site, BiasInBasis) and site.arc_mean:
            assert found.mean is not None
            # Of unit mean square, so that one rate serves its factor and a plain bias.
            mean = F.normalize(found.mean, dim=0) * len(found.mean) ** 0.5
            site.arc_mean[_ADAPTER].copy_(mean)
        if _ADAPTER not in site.arc_projection:
            continue
        down = site.arc_projection[_ADAPTER]
        d, r = down.shape
        vectors = leading(found.vectors, r, d)
        into, out_of = vectors, vectors
        if whiten:
            assert found.variances is not None
            least = 1e-6 * found.variances[0]
            into = vectors / found.variances[:r].clamp_min(least).sqrt()
        if output_basis:
            layers = consumers_of(model).items()
            out_of = read_by_consumers([m.weight for n, m in layers if role_of(n) == role], r)
        down.copy_(into)
        if _ADAPTER in site.arc_up:
            site.arc_up[_ADAPTER].copy_(out_of.mT)


class BiasInBasis(ArcLayer):
    """A site whose bias lies in the basis: ``b = D beta``, and ``+ s m`` with the role's mean m."""

    adapter_layer_names = (*ArcLayer.adapter_layer_names, "arc_beta", "arc_shift", "arc_mean")

    def factors(self, adapter_name: str) -> Factors:
        """See ``ArcLayer``: everything that an adapter does follows from them."""
        factors = super().factors(adapter_name)
        # No product, which autocast would round.
        bias = (factors.down * self.arc_beta[adapter_name]).sum(1)
        if adapter_name in self.arc_mean:
            bias = bias + self.arc_shift[adapter_name] * self.arc_mean[adapter_name]
        return factors._replace(bias=bias)


class BiasInBasisLinear(BiasInBasis, ArcLinear):
    """The same on a plain linear layer."""


def put_bias_in_basis(model: nn.Module, *, mean: bool) -> None:
    """Give the sites of ARC, which have no bias, one in the basis.

    Args:
        model: the adapted model.
        mean: whether the bias has a part along the mean too.
    """
    for site in arc_sites(model):
        core = site.arc_coefficients[_ADAPTER]
        # A site stays what the tuner made: no other part of it depends on what a bias is made of.
        site.__class__ = BiasInBasisLinear if isinstance(site, ArcLinear) else BiasInBasis
        held: dict[str, Tensor] = {"arc_beta": core.new_zeros(site.r[_ADAPTER])}
        if mean:
            held |= {"arc_shift": core.new_zeros(()), "arc_mean": core.new_zeros(site.width)}
        for name in ("arc_beta", "arc_shift", "arc_mean"):
            start = {_ADAPTER: nn.Parameter(held[name])} if name in held else {}
            setattr(site, name, nn.ParameterDict(start))
        site.arc_mean.requires_grad_(False)


CONSUMER_CORES = PeftTypeName("CONSUMER_CORES")


@dataclass
class ConsumerCoresConfig(MethodConfig):
    """Rank r, and dropout in the bottleneck."""

    method_type = CONSUMER_CORES

    r: int = 27
    dropout: float = 0.1


class ConsumerCoresLayer(MethodLayer):
    """A layer of k consumers with a core each: consumer s reads ``n + (n D) M_s D^T + b``.

    ``M_s D^T W_s^T`` is composed first, from ``D^T W_s^T``, which doesn't change: as much work as
    LoRA of rank r. All layers run the same code on tensors of their own; the first of a role holds
    D as what is stored.

    Args:
        base_layer: the linear layer.
        consumers: how many equal slices of its outputs have a core each.
        holds: whether it is the first of its role.
    """

    adapter_layer_names = ("cores_matrix", "cores_bias", "cores_basis")

    def __init__(self, base_layer: nn.Linear, *, consumers: int, holds: bool) -> None:
        super().__init__(base_layer)
        self.consumers = consumers
        self.holds = holds
        self.dropout = 0.0
        self.cores_matrix = nn.ParameterDict()
        self.cores_bias = nn.ParameterDict()
        self.cores_basis = nn.ParameterDict()

    def add(self, adapter_name: str, config: ConsumerCoresConfig) -> None:
        """Cores and bias zero; D the first r axes until ``set_basis``."""
        if config.inference_mode:
            raise UserError("consumer_cores is an experiment: its adapters can't be loaded.")
        weight = self.base_layer.weight
        d, r = weight.shape[1], config.r
        self.dropout = config.dropout
        self.cores_matrix[adapter_name] = nn.Parameter(torch.zeros(self.consumers, r, r))
        self.cores_bias[adapter_name] = nn.Parameter(torch.zeros(d))
        if self.holds:
            self.cores_basis[adapter_name] = nn.Parameter(torch.zeros(d, r))
        self.register_buffer("_down", weight.new_zeros(d, r), persistent=False)
        size = (self.consumers, r, len(weight) // self.consumers)
        self.register_buffer("_read", weight.new_zeros(size), persistent=False)
        self.set_basis(adapter_name, torch.eye(d, r))

    @torch.no_grad()
    def set_basis(self, adapter_name: str, basis: Tensor) -> None:
        """Take D, (d, r)."""
        self._down.copy_(basis)
        weight = self.base_layer.weight
        slices = weight.view(self.consumers, -1, weight.shape[1])
        self._read.copy_((slices @ self._down).mT)
        if self.holds:
            self.cores_basis[adapter_name].copy_(basis)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output from what its consumers read, (..., d) to (..., o)."""
        for name in self._on(self.cores_matrix):
            base = self.base_layer
            bias = F.linear(self.cores_bias[name], base.weight, base.bias)
            u = F.dropout(x @ self._down, self.dropout, self.training)
            out_of = (self.cores_matrix[name] @ self._read).transpose(0, 1).flatten(1)
            return F.linear(x, base.weight, bias) + u @ out_of
        return self.base_layer(x)


class ConsumerCoresModel(MethodModel):
    """Cores for q, k, v and fc1 of every block of a timm ViT."""

    prefix = "cores_"
    tuner_layer_cls = ConsumerCoresLayer
    layer_kind = ConsumerCoresLayer

    def wrapped(self, config: ConsumerCoresConfig, model: nn.Module) -> list[str]:
        """The consumers of every norm."""
        names = [n for n, m in consumers_of(model).items() if isinstance(m, nn.Linear)]
        if {role_of(name) for name in names} != {"att", "ffn"}:
            raise UserError(f"consumer_cores needs qkv and fc1: {type(model).__name__} has none.")
        return names

    def make_layer(
        self, config: ConsumerCoresConfig, model: nn.Module, name: str
    ) -> ConsumerCoresLayer:
        """The wrapper of a layer."""
        made = [m for m in model.modules() if isinstance(m, ConsumerCoresLayer)]
        consumers = CONSUMERS[name.rpartition(".")[2]]
        holds = all(layer.consumers != consumers for layer in made)
        return ConsumerCoresLayer(model.get_submodule(name), consumers=consumers, holds=holds)


def freeze_basis(model: nn.Module) -> None:
    """PEFT trains all that a layer holds until it is told not to."""
    for layer in model.modules():
        if isinstance(layer, ConsumerCoresLayer):
            layer.cores_basis.requires_grad_(False)


def set_consumer_cores(model: nn.Module, directions: dict[str, Directions]) -> None:
    """Give the layers of each role their D."""
    for name, layer in consumers_of(model).items():
        role = role_of(name)
        if isinstance(layer, ConsumerCoresLayer) and role is not None:
            d, r = layer._down.shape
            layer.set_basis(_ADAPTER, leading(directions[role].vectors, r, d))


register_tuner(CONSUMER_CORES, ConsumerCoresConfig, ConsumerCoresModel)

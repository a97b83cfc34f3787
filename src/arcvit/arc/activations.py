"""Projections from what images look like in the backbone, before training.

    D = the r first eigenvectors of  mean over layers of  Cov(x_l)        x_l: (rows, d)   D: (d, r)

x_l is the tensor that is adapted in layer l, of every token of every image; its mean in the layer
is removed. The layers are those that share D. EVA (arXiv 2410.07170) does so for each LoRA apart.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from arcvit.arc.layer import ArcLayer, bypassed
from arcvit.arc.proof import evaluating
from arcvit.core.errors import UserError


class Moments:
    """Mean and covariance of rows that come in batches."""

    def __init__(self) -> None:
        self.rows = 0

    def add(self, x: Tensor) -> None:
        """Take in rows, (..., d)."""
        x = x.detach().reshape(-1, x.shape[-1]).float()
        if self.rows == 0:
            # Sums of squares far from zero would lose what differs: the first mean is near.
            self._near = x.mean(0)
            d = len(self._near)
            self._sum = torch.zeros(d, dtype=torch.float64)
            self._products = torch.zeros(d, d, dtype=torch.float64)
        x = x - self._near
        self.rows += len(x)
        self._sum += x.sum(0).cpu().double()
        self._products += (x.mT @ x).cpu().double()

    def mean(self) -> Tensor:
        """(d,), in float64 on the CPU."""
        return self._near.cpu().double() + self._sum / self.rows

    def covariance(self) -> Tensor:
        """(d, d), in float64 on the CPU."""
        mean = self._sum / self.rows
        return self._products / self.rows - torch.outer(mean, mean)


@torch.no_grad()
def initialize_from_activations(
    model: nn.Module, batches: Iterable[Any], *, adapter_name: str = "default"
) -> None:
    """Set an adapter's projections to the principal directions of the activations on images.

    The same images give the same projections. Where a group has sites before and after a sub-layer,
    those before it count: that is what was tried. A separate up-projection starts as ``D^T``.
    Projections borrowed from another adapter stay as they are.

    Args:
        model: the model with the adapter, on its device.
        batches: inputs of the model, (B, C, H, W) each; some hundred images are enough.
        adapter_name: the adapter.

    Raises:
        ValueError: there is no such adapter, or there are no batches.
        UserError: activations aren't finite; the projections of no group are set then.
    """
    groups: dict[int, list[ArcLayer]] = {}
    for layer in model.modules():
        if isinstance(layer, ArcLayer) and layer.has(adapter_name):
            holder, held_for = layer.projection_holder[adapter_name]
            if held_for == adapter_name:
                groups.setdefault(id(holder), []).append(layer)
    if not groups:
        raise ValueError(f"the model has no adapter {adapter_name!r} with projections of its own.")
    alone = {key: all(layer.after for layer in layers) for key, layers in groups.items()}
    seen = {
        key: {layer: Moments() for layer in layers if not layer.after or alone[key]}
        for key, layers in groups.items()
    }
    watched = {layer: moments for of_group in seen.values() for layer, moments in of_group.items()}
    _run(model, batches, watched)
    if any(moments.rows == 0 for moments in watched.values()):
        raise ValueError("the projections need images: the model was given none.")
    covariances = {
        key: torch.stack([moments.covariance() for moments in of_group.values()]).mean(0)
        for key, of_group in seen.items()
    }
    for key, covariance in covariances.items():
        if not bool(covariance.isfinite().all()):
            raise UserError(
                f"the activations at {groups[key][0].name!r} are NaN or infinite on these images:"
                " check the backbone's weights, or set projection_init to xavier."
            )
    for key, layers in groups.items():
        _, directions = principal(covariances[key])
        holder, _ = layers[0].projection_holder[adapter_name]
        down = holder.arc_projection[adapter_name]
        down.copy_(directions[:, : down.shape[1]])
        if adapter_name in holder.arc_up:
            holder.arc_up[adapter_name].copy_(down.mT)


def _run(model: nn.Module, batches: Iterable[Any], watched: dict[ArcLayer, Moments]) -> None:
    """Run the plain backbone, in evaluation mode, and look at the adapted tensors."""
    with ExitStack() as restored:
        restored.enter_context(bypassed(m for m in model.modules() if isinstance(m, ArcLayer)))
        restored.enter_context(evaluating(model))
        for layer, moments in watched.items():
            restored.callback(_watch(layer, moments).remove)
        for batch in batches:
            model(batch)


def _watch(layer: ArcLayer, moments: Moments) -> Any:
    if layer.placement == "output":
        return layer.base_layer.register_forward_hook(lambda _, args, out: moments.add(out))
    return layer.register_forward_pre_hook(lambda _, args: moments.add(args[0]))


def principal(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Variances by falling size, (d,), and their directions as columns, (d, d).

    The largest entry of each direction is positive.
    """
    variances, vectors = torch.linalg.eigh(covariance)
    vectors = vectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return variances.flip(0), vectors * largest.sign()

"""The projections of many sites at once, for a forward pass.

L  sites of a group, d  width, r  bottleneck rank, w  columns of the bottleneck

Each site alone scales, transposes, pads and casts its projections, in a dozen small kernels forward
and backward; where a step is short these weigh. A group shares D, so that its sites are one tensor
(L, w, d) which is unbound: indexing would add a gradient of full size for every site.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from arcvit.arc.bottleneck import Projections, columns, work_dtype
from arcvit.arc.functional import Factors
from arcvit.arc.layer import ArcLayer

Stacked = Callable[..., tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]
"""What ``stacked`` is, or a compiled version of it."""


def stacked(
    down: Tensor,
    up: Tensor | None,
    cores: Sequence[Tensor],
    biases: Sequence[Tensor],
    dropout: float,
    dtype: torch.dtype,
    width: int,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """``into`` and ``out_of`` of sites that share D and U, see ``Projections``.

    Args:
        down: D, (d, r).
        up: U, (r, d); None: ``D^T``.
        cores: C of each site, (r,) or (r, r).
        biases: b of each site, (d,); empty: they have none.
        dropout: probability of dropping an element of the bottleneck.
        dtype: of the products.
        width: columns of the bottleneck.
    """
    (d, r), sites = down.shape, len(cores)
    every = torch.stack(list(cores)) / (1.0 - dropout)
    up = down.mT if up is None else up
    if every.ndim == 2:
        into, out_of = [(down * every.unsqueeze(1)).mT], [up.expand(sites, r, d)]
    else:
        into, out_of = [down.mT.expand(sites, r, d)], [every @ up]
    into += [down.new_zeros(sites, width - r, d)]
    if biases:
        out_of += [torch.stack(list(biases)).unsqueeze(1), down.new_zeros(sites, width - r - 1, d)]
    else:
        out_of += [down.new_zeros(sites, width - r, d)]
    return torch.cat(into, 1).to(dtype).unbind(), torch.cat(out_of, 1).to(dtype).unbind()


Sites = list[ArcLayer]

_Group = tuple[int, int | None, torch.Size, bool, float]
"""What the sites of a group have in common: D, U, the shape of C, whether there is a b, dropout."""


@contextmanager
def prepared(
    sites: Sites,
    x: Tensor,
    *,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    make: Stacked = stacked,
) -> Iterator[None]:
    """Within the context, sites take projections that were made together.

    The backward pass belongs into it where it runs blocks again.

    Args:
        sites: sites of one model that take prepared projections, see ``fused_sites``.
        x: a tensor on their device.
        autocast: gives the context of the forward pass.
        make: ``stacked``, or a compiled version of it.
    """
    groups: dict[_Group, list[tuple[ArcLayer, Factors]]] = {}
    for site in sites:
        factors, dropout = site.fused_adapter() or _changed(site)
        own_up = None if factors.is_symmetric else id(factors.up)
        key = (id(factors.down), own_up, factors.core.shape, factors.bias is None, dropout)
        groups.setdefault(key, []).append((site, factors))
    try:
        with autocast():
            for (*_, dropout), group in groups.items():
                _prepare(group, x, dropout, make)
        yield
    finally:
        for site in sites:
            site.prepared = None


def _prepare(
    group: list[tuple[ArcLayer, Factors]], x: Tensor, dropout: float, make: Stacked
) -> None:
    of_group = [factors for _, factors in group]
    first = of_group[0]
    made = make(
        first.down,
        None if first.is_symmetric else first.up,
        [factors.core for factors in of_group],
        [factors.bias for factors in of_group if factors.bias is not None],
        dropout,
        work_dtype(x, first.down),
        columns(x, first),
    )
    ones = None if first.bias is None else first.down.shape[1]
    for (site, _), into, out_of in zip(group, *made, strict=True):
        site.prepared = Projections(into, out_of, ones)


def fused_sites(model: nn.Module) -> Sites:
    """The sites of a model that take prepared projections."""
    return [m for m in model.modules() if isinstance(m, ArcLayer) and m.fused_adapter()]


def _changed(site: ArcLayer) -> tuple[Factors, float]:
    raise RuntimeError(f"the adapters at {site.name!r} have changed since their step was made.")

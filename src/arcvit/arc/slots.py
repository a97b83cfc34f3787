"""Adapters in fixed slots: every row of a batch takes its own, and none is put on the model.

S slots, L sites of one width d, P projections, R their largest rank, B rows of the batch

To load an adapter is to copy its numbers into a slot, however many others there are. Projections
are kept once however many sites share them: a site has the number of its row in a common store. A
full core is multiplied with the up-projection when it is packed, so that all cores are diagonal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from arcvit.arc.call import HoldsFactors
from arcvit.arc.functional import Factors
from arcvit.arc.unattached import UnattachedSite

NONE = -1
"""The slot of a row that takes no adapter."""


@dataclass(frozen=True, kw_only=True)
class PackedWidth:
    """An adapter at its L sites of one width d.

    Attributes:
        sites: their names.
        core: coefficients, (L, R), zeros beyond a site's rank.
        bias: (L, d), zeros where there is none; None: no site has one.
        projections: down-projections transposed, and up-projections, (P, R, d).
        down: which of them leads into the bottleneck of each site.
        up: which leads out of it.
    """

    sites: tuple[str, ...]
    core: Tensor
    bias: Tensor | None
    projections: Tensor
    down: tuple[int, ...]
    up: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The largest of its sites, R."""
        return self.core.shape[1]

    @property
    def tensors(self) -> list[Tensor]:
        """What takes memory."""
        bias = [] if self.bias is None else [self.bias]
        return [self.core, self.projections, *bias]


Packed = dict[int, PackedWidth]
"""An adapter, by the widths of its sites."""


def pack(adapter: Mapping[str, UnattachedSite], *, pin: bool = False) -> Packed:
    """An adapter as a slot takes it, in few tensors.

    Args:
        adapter: by the names of its sites.
        pin: whether its memory is locked, for fast copies to a GPU.
    """
    widths = dict.fromkeys(site.planned.site.width for site in adapter.values())
    packed = {width: _pack_width(adapter, width) for width in widths}
    if not pin:
        return packed
    return {
        width: PackedWidth(
            sites=part.sites,
            core=part.core.pin_memory(),
            bias=None if part.bias is None else part.bias.pin_memory(),
            projections=part.projections.pin_memory(),
            down=part.down,
            up=part.up,
        )
        for width, part in packed.items()
    }


def _pack_width(adapter: Mapping[str, UnattachedSite], width: int) -> PackedWidth:
    factors = {n: s.factors for n, s in adapter.items() if s.planned.site.width == width}
    rank = max(f.down.shape[1] for f in factors.values())
    rows: dict[object, int] = {}
    projections: list[Tensor] = []

    def row_of(matrix: Tensor, key: object) -> int:
        if key not in rows:
            rows[key] = len(projections)
            projections.append(F.pad(matrix, (0, 0, 0, rank - len(matrix))))
        return rows[key]

    down, up, cores = [], [], []
    for name, f in factors.items():
        down.append(row_of(f.down.mT, f.down.data_ptr()))
        if f.core.ndim == 1:
            up.append(down[-1] if f.is_symmetric else row_of(f.up, f.up.data_ptr()))
            core = f.core
        else:
            up.append(row_of(f.out_of, name))
            core = f.core.new_ones(len(f.core))
        cores.append(F.pad(core, (0, rank - len(core))))
    bias = None
    if any(f.bias is not None for f in factors.values()):
        bias = torch.stack(
            [f.core.new_zeros(width) if f.bias is None else f.bias for f in factors.values()]
        )
    return PackedWidth(
        sites=tuple(factors),
        core=torch.stack(cores),
        bias=bias,
        projections=torch.stack(projections),
        down=tuple(down),
        up=tuple(up),
    )


class Slots:
    """The slots of a model, on its device.

    Tensors grow where an adapter has a larger rank, further sites or more projections than those
    before; each is as large then as if it had been so from the start.

    Args:
        slots: how many adapters stand beside one another.
        device: of the model.
        dtype: of what is held there: that of autocast, where it is on.
    """

    def __init__(
        self,
        slots: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.slots = slots
        self._device = torch.device(device)
        self._dtype = dtype
        self._widths: dict[int, _Width] = {}

    def put(self, slot: int, adapter: Packed) -> None:
        """Copy an adapter into a slot, in the place of what was there."""
        self.clear(slot)
        for width, part in adapter.items():
            if width not in self._widths:
                self._widths[width] = _Width(self.slots, width, self._device, self._dtype)
            self._widths[width].put(slot, part)

    def clear(self, slot: int) -> None:
        """Empty a slot: it is as ``NONE`` then."""
        for width in self._widths.values():
            width.clear(slot)

    def rows(self, slots: Sequence[int]) -> "SlotCall":
        """A call whose rows take the adapters in these slots, or ``NONE``.

        Where all are one, the batch passes in plain products.
        """
        distinct = set(slots)
        return SlotCall(self._widths, list(distinct) if len(distinct) == 1 else list(slots))

    @property
    def bytes(self) -> int:
        """Memory on the device."""
        held = [t for width in self._widths.values() for t in (width.core, width.bias, width.store)]
        return sum(t.numel() * t.element_size() for t in held)


class SlotCall:
    """A call of the model whose rows take the adapters in slots; see ``arcvit.arc.call``."""

    def __init__(self, widths: Mapping[int, "_Width"], slots: list[int]) -> None:
        self._rows = {width: _RowsOfWidth(held, slots) for width, held in widths.items()}

    def rows_at(self, site: HoldsFactors) -> Factors | None:
        """The adapters of all rows at a site, as ``adapt_rows`` takes them; None where none is."""
        rows = self._rows.get(site.width)
        return None if rows is None else rows.at(site.name)


@dataclass
class _Width:
    """The slots at all sites of one width d."""

    slots: int
    width: int
    device: torch.device
    dtype: torch.dtype
    sites: dict[str, int] = field(default_factory=dict)
    held: dict[int, list[int]] = field(default_factory=dict)
    """The rows of the store that a slot holds."""
    free: list[int] = field(default_factory=list)
    ranks: dict[int, int] = field(default_factory=dict)
    biased: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        nothing = torch.zeros(0, device=self.device, dtype=self.dtype)
        self.core = nothing.new_zeros(self.slots, 0, 0)
        self.bias = nothing.new_zeros(self.slots, 0, self.width)
        self.store = nothing.new_zeros(0, 0, self.width)
        # One more than there are: the last one is that of NONE, and stays as it is.
        self.down = np.full((self.slots + 1, 0), NONE)
        self.up = np.full((self.slots + 1, 0), NONE)

    def put(self, slot: int, part: PackedWidth) -> None:
        rank = part.core.shape[1]
        self._make_room(part, rank)
        places = [self.sites[name] for name in part.sites]
        rows = [self.free.pop() for _ in range(len(part.projections))]
        self.held[slot], self.ranks[slot] = rows, rank
        for row, projection in zip(rows, part.projections, strict=True):
            self.store[row, :rank].copy_(projection, non_blocking=True)
            # Of what was there before, a product could be infinite in half precision, and an
            # infinity times a coefficient of zero isn't zero.
            self.store[row, rank:].zero_()
        at = torch.tensor(places, device=self.device)
        self.core[slot, at, :rank] = part.core.to(self.core, non_blocking=True)
        if part.bias is not None:
            self.biased.add(slot)
            self.bias[slot, at] = part.bias.to(self.bias, non_blocking=True)
        self.down[slot, places] = [rows[index] for index in part.down]
        self.up[slot, places] = [rows[index] for index in part.up]

    def clear(self, slot: int) -> None:
        if slot not in self.held:
            return
        self.free += self.held.pop(slot)
        del self.ranks[slot]
        self.core[slot].zero_()
        if slot in self.biased:
            self.biased.remove(slot)
            self.bias[slot].zero_()
        self.down[slot], self.up[slot] = NONE, NONE

    def _make_room(self, part: PackedWidth, rank: int) -> None:
        for name in part.sites:
            self.sites.setdefault(name, len(self.sites))
        sites, ranks = len(self.sites), max(rank, self.core.shape[2])
        self.core = _grown(self.core, (self.slots, sites, ranks))
        self.bias = _grown(self.bias, (self.slots, sites, self.width))
        further = ((0, 0), (0, sites - self.down.shape[1]))
        self.down = np.pad(self.down, further, constant_values=NONE)
        self.up = np.pad(self.up, further, constant_values=NONE)
        rows = len(self.store)
        missing = len(part.projections) - len(self.free)
        if missing > 0:
            # Most adapters have two projections, one before MHA and one before the FFN.
            more = max(missing, rows // 2, 2 * self.slots - rows)
            self.free += range(rows, rows + more)
            rows += more
        self.store = _grown(self.store, (rows, ranks, self.width))


class _RowsOfWidth:
    """What the rows of a batch take at the sites of one width, gathered once for all of them."""

    def __init__(self, held: _Width, slots: list[int]) -> None:
        self._held = held
        self._slots = slots
        self._gathered: dict[bytes, Tensor] = {}
        self._rank = max((held.ranks.get(slot, 0) for slot in slots), default=0)
        self._core: Tensor | None = None
        self._bias: Tensor | None = None

    def at(self, name: str) -> Factors | None:
        place = self._held.sites.get(name)
        if place is None or self._rank == 0:
            return None
        down = self._held.down[self._slots, place]
        there = down != NONE
        if not there.any():
            return None
        if self._core is None:
            self._gather()
        assert self._core is not None
        up = self._held.up[self._slots, place]
        down_rows = self._matrices(down, there)
        up_rows = down_rows if np.array_equal(up, down) else self._matrices(up, there)
        bias = None if self._bias is None else self._bias[:, place].unsqueeze(1)
        return Factors(down_rows.mT, self._core[:, place].unsqueeze(1), up_rows, bias)

    def _gather(self) -> None:
        held = self._held
        # Rows of NONE take the numbers of a slot that is there, and none of its coefficients.
        rows = torch.tensor([max(slot, 0) for slot in self._slots], device=held.device)
        self._core = held.core[..., : self._rank].index_select(0, rows)
        if any(slot in held.biased for slot in self._slots):
            self._bias = held.bias.index_select(0, rows)
        absent = [row for row, slot in enumerate(self._slots) if slot == NONE]
        if absent:
            self._core[absent] = 0
            if self._bias is not None:
                self._bias[absent] = 0

    def _matrices(self, which: np.ndarray, there: np.ndarray) -> Tensor:
        """One matrix a row, (B, R, d), or the only one there is, (R, d)."""
        # Rows without an adapter have a zero core: any matrix serves them.
        which = np.where(there, which, which[there][0])
        key = which.tobytes()
        if key not in self._gathered:
            store = self._held.store[:, : self._rank]
            if (which == which[0]).all():
                self._gathered[key] = store[which[0]]
            else:
                rows = torch.from_numpy(which).to(self._held.device)
                self._gathered[key] = store.index_select(0, rows)
        return self._gathered[key]


def _grown(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A tensor with zeros at the ends of its dimensions."""
    if tensor.shape == shape:
        return tensor
    grown = tensor.new_zeros(shape)
    grown[tuple(slice(size) for size in tensor.shape)] = tensor
    return grown

"""What a call of the model carries beside its input, in context variables.

Calls from several threads don't meet: nothing of a call is kept on a module.

B  rows of the batch, d  width, r  bottleneck rank, K  adapters in the batch

In a mixed batch every row has its own adapter, and no loop runs over adapters. A row without an
adapter at a site has zero core and bias there. Where all rows use one projection, a single matrix
product serves the whole batch; else the projections are gathered once for all sites that share
them, because layers do.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from arcvit.arc.functional import Factors

BASE = "__base__"
"""The name of a row that gets no adapter."""


class HoldsFactors(Protocol):
    """A site, as far as a mixed batch needs it."""

    name: str
    width: int

    def has(self, adapter_name: str) -> bool:
        """Whether an adapter is here."""
        ...

    def factors(self, adapter_name: str) -> Factors:
        """An adapter here."""
        ...


class RowsCall(Protocol):
    """A call that has adapters for its rows, wherever it takes them from."""

    def rows_at(self, site: HoldsFactors) -> Factors | None:
        """The adapters of all rows at a site, as ``adapt_rows`` takes them; None where none is."""
        ...


class MixedCall:
    """A call whose rows have adapters of their own.

    Args:
        names: an adapter for each of the B rows; ``__base__`` for none.
        known: the adapters there are.

    Raises:
        ValueError: a name that isn't known.
    """

    def __init__(self, names: Sequence[str], known: Sequence[str]) -> None:
        self.names = list(dict.fromkeys(names))
        unknown = [name for name in self.names if name != BASE and name not in known]
        if unknown:
            raise ValueError(
                f"unknown adapter(s) {', '.join(map(repr, unknown))}: expected {BASE!r} or one of"
                f" {', '.join(known)}."
            )
        self._place = torch.tensor([self.names.index(name) for name in names])
        self._in_order = list(names) == self.names
        self._at: dict[int, Factors | None] = {}
        self._gathered: dict[Hashable, tuple[Tensor, list[Tensor | None]]] = {}

    def rows_at(self, site: HoldsFactors) -> Factors | None:
        """The adapters of all rows at a site, as ``adapt_rows`` takes them; None where none is."""
        if id(site) not in self._at:
            self._at[id(site)] = self._rows(site)
        return self._at[id(site)]

    def gather(self, per_adapter: Sequence[Tensor]) -> Tensor:
        """From one tensor an adapter to one a row, (B, ...)."""
        stacked = torch.stack(list(per_adapter))
        return stacked if self._in_order else stacked[self._place.to(stacked.device)]

    def _rows(self, site: HoldsFactors) -> Factors | None:
        of_name = [site.factors(name) if site.has(name) else None for name in self.names]
        present = [factors for factors in of_name if factors is not None]
        if not present:
            return None
        r = max(len(factors.core) for factors in present)
        d = site.width

        def shared(matrix_of: Callable[[Factors], Tensor], dims: tuple[int, int]) -> Tensor:
            return self._gather_shared([f and matrix_of(f) for f in of_name], dims)

        down = shared(lambda f: f.down, (d, r))
        symmetric = all(f.is_symmetric for f in present)
        up = down.mT if symmetric else shared(lambda f: f.up, (r, d))
        core_dims = (1, r) if all(f.core.ndim == 1 for f in present) else (r, r)
        zeros = present[0].core.new_zeros
        core = self.gather(
            [zeros(core_dims) if f is None else _core(f.core, core_dims) for f in of_name]
        )
        bias = None
        if any(f.bias is not None for f in present):
            bias = self.gather(
                [zeros(1, d) if f is None or f.bias is None else f.bias[None] for f in of_name]
            )
        return Factors(down, core, up, bias)

    def _gather_shared(self, matrices: list[Tensor | None], dims: tuple[int, int]) -> Tensor:
        """One matrix a row, (B, m, n), or the only one there is, (m, n): gathered once."""
        key = (dims, *(None if m is None else (m.data_ptr(), m.stride()) for m in matrices))
        if key not in self._gathered:
            # The matrices are kept with what was made of them, or their memory could be another's.
            self._gathered[key] = (self._one_a_row(matrices, dims), matrices)
        return self._gathered[key][0]

    def _one_a_row(self, matrices: list[Tensor | None], dims: tuple[int, int]) -> Tensor:
        present = [matrix for matrix in matrices if matrix is not None]
        if len({matrix.data_ptr() for matrix in present}) == 1 and present[0].shape == dims:
            return present[0]  # Rows without an adapter have a zero core: any matrix serves them.
        zeros = present[0].new_zeros(dims)
        return self.gather([zeros if m is None else padded(m, dims) for m in matrices])


_mixed: ContextVar[RowsCall | None] = ContextVar("arc_mixed_call", default=None)
_deferred: ContextVar[Mapping[int, Tensor]] = ContextVar("arc_deferred")


_lock = Lock()
_running = 0
_any_running = False
"""Whether a mixed batch is being run in any thread. Compiled code can't read a context variable,
but this it can, and is compiled anew where it changes."""


def current_call() -> RowsCall | None:
    """The mixed batch that is being run, if one is."""
    return _mixed.get() if _any_running else None


@contextmanager
def carried(call: RowsCall) -> Iterator[None]:
    """Within the context the model runs this mixed batch."""
    token = _mixed.set(call)
    _count(1)
    try:
        yield
    finally:
        _count(-1)
        _mixed.reset(token)


def _count(more: int) -> None:
    global _running, _any_running
    with _lock:
        _running += more
        _any_running = _running > 0


def defer(site: object, update: Tensor | None) -> None:
    """Keep what a site adds to the residual stream until the stream passes."""
    # A new mapping each time: threads that were started with a copy of this context see their own.
    others = {key: held for key, held in _deferred.get({}).items() if key != id(site)}
    _deferred.set(others if update is None else {**others, id(site): update})


def deferred(site: object) -> Tensor | None:
    """What the site deferred, once."""
    update = _deferred.get({}).get(id(site))
    if update is not None:
        defer(site, None)
    return update


def check_batch(names: Sequence[str], inputs: Sequence[Any]) -> None:
    """Refuse a batch that has more or fewer rows than names.

    Raises:
        ValueError: the numbers differ.
    """
    first = next((value for value in inputs if isinstance(value, Tensor)), None)
    if first is not None and len(first) != len(names):
        raise ValueError(
            f"adapter_names has {len(names)} names for a batch of {len(first)} rows: expected one"
            " name a row."
        )


def padded(matrix: Tensor, dims: tuple[int, int]) -> Tensor:
    """A matrix with zeros below and to the right."""
    if matrix.shape == dims:
        return matrix
    return F.pad(matrix, (0, dims[1] - matrix.shape[1], 0, dims[0] - matrix.shape[0]))


def _core(core: Tensor, dims: tuple[int, int]) -> Tensor:
    """A core as (1, r) or (r, r)."""
    if core.ndim == 1:
        core = core[None] if dims[0] == 1 else core.diag()
    return padded(core, dims)

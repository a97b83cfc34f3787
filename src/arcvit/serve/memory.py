"""Adapters in memory: read when they are asked for, in threads of their own, and let go again."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple
from weakref import WeakValueDictionary

from arcvit.core.errors import UserError
from arcvit.serve.adapter import Adapter, AdapterReader
from arcvit.serve.daemons import Daemons
from arcvit.serve.refusals import TaskRemoved
from arcvit.serve.registry import Place, stamp_of
from arcvit.serve.sources import private_copy

Key = tuple[str, int]
"""A task and its version."""
_TRIES = 3
_LOADERS = 4
_PAUSE = 10.0
"""Seconds after which what couldn't be reached is tried again, when it is asked for."""


class _Broken(NamedTuple):
    """Why files can't be served: of which place, and until when that is taken for granted."""

    place: Place
    why: str
    until: float


@dataclass(eq=False)
class _Reading:
    """What is being read: the promise of it, and whether nobody should be given it afterwards."""

    promise: Future[Adapter] = field(init=False)
    dropped: bool = False
    reason: str | None = None


class Memory:
    """The adapters in memory. All methods may be called from any thread.

    Args:
        reader: of adapters.
        most: adapters at most.
        most_bytes: of them at most.
        retire: called with adapters that nobody should be given any more.
        bring: called with adapters that are pinned, which should stand on the device.
    """

    def __init__(
        self,
        reader: AdapterReader,
        *,
        most: int,
        most_bytes: int,
        retire: Callable[[list[Adapter]], None],
        bring: Callable[[list[Adapter]], None],
    ) -> None:
        self._reader = reader
        self._most = most
        self._most_bytes = most_bytes
        self._pinned: frozenset[Key] = frozenset()
        self._retire = retire
        self._bring = bring
        self._lock = threading.Lock()
        self._held: OrderedDict[Key, Adapter] = OrderedDict()
        self._bytes = 0
        # What is on the device, or answers a request, needn't be read again.
        self._alive: WeakValueDictionary[tuple[Key, Place], Adapter] = WeakValueDictionary()
        self._places: dict[Key, Place] = {}
        self._broken: dict[Key, _Broken] = {}
        self._reading: dict[Key, _Reading] = {}
        self._loaders = Daemons(_LOADERS, "arcvit-loader")
        # Sources that are silent for minutes mustn't keep what lies here waiting.
        self._fetchers = Daemons(_LOADERS, "arcvit-fetcher")
        self._one_reads = threading.Lock()

    def get(self, key: Key, place: Place) -> Adapter | Future[Adapter]:
        """An adapter, or the promise of one, which raises what is wrong with it."""
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
                return held
            alive = self._alive.get((key, place))
            if alive is not None and alive.removed is None:
                self._keep(key, place, alive)
                return alive
            broken = self._broken.get(key)
            if broken is not None and broken.place == place and time.monotonic() < broken.until:
                failed: Future[Adapter] = Future()
                failed.set_exception(UserError(broken.why))
                return failed
        return self.read(key, place)

    def read(self, key: Key, place: Place) -> Future[Adapter]:
        """Read an adapter anew. What is in memory stays there until the new one has been read."""
        with self._lock:
            reading = self._reading.get(key)
            if reading is None:
                reading = _Reading()
                pool = self._fetchers if place.folder is None else self._loaders
                reading.promise = pool.submit(partial(self._read, key, place, reading))
                self._reading[key] = reading
        return reading.promise

    def remove(self, key: Key, reason: str | None) -> None:
        """Give an adapter to nobody any more.

        Args:
            key: which one.
            reason: why requests that wait for it are refused; None: they are finished.
        """
        with self._lock:
            self._broken.pop(key, None)
            reading = self._reading.pop(key, None)
            if reading is not None:
                reading.dropped, reading.reason = True, reason
            gone = self._last(key)
            self._places.pop(key, None)
            held = self._held.pop(key, None)
            if held is not None:
                self._bytes -= held.bytes
            if gone is not None:
                gone.removed, gone.pinned = reason, False
        if gone is not None:
            self._retire([gone])

    def state(self, key: Key) -> tuple[Adapter | None, str]:
        """The adapter of a version, where it has been read, and why its files can't be."""
        with self._lock:
            broken = self._broken.get(key)
            return self._last(key), "" if broken is None else broken.why

    def is_outdated(self, key: Key, place: Place) -> bool:
        """Whether a version was read from elsewhere, otherwise or from other files than it lies in
        now."""
        with self._lock:
            tried = self._broken[key].place if key in self._broken else None
            return self._places.get(key, place) != place and tried != place

    def pin(self, keys: Collection[Key]) -> None:
        """Have these adapters stay from now on, and no others."""
        with self._lock:
            self._pinned = frozenset(keys)
            for (key, _), adapter in self._alive.items():
                # What was replaced may be on the device still, and must not stay there.
                adapter.pinned = key in self._pinned and adapter is self._last(key)

    def close(self) -> None:
        """Read nothing more."""
        self._loaders.close()
        self._fetchers.close()

    def _read(self, key: Key, place: Place, reading: _Reading) -> Adapter:
        try:
            adapter, place = self._consistent(key, place)
        except BaseException as error:
            # Who asks need not know where adapters come from.
            why = str(error).replace(place.source, key[0]) if place.source else str(error)
            passing = place.folder is None or isinstance(error.__cause__, OSError)
            until = time.monotonic() + _PAUSE if passing else math.inf
            with self._lock:
                self._is_over(key, reading)
                if not isinstance(error, UserError):
                    raise
                if not reading.dropped:
                    self._broken[key] = _Broken(place, why, until)
            raise UserError(why) from error
        with self._lock:
            self._is_over(key, reading)
            if reading.dropped:
                return adapter
            self._broken.pop(key, None)
            before = self._held.get(key)
            self._keep(key, place, adapter)
        if before is not None:
            before.pinned = False
            self._retire([before])
        if adapter.pinned:
            self._bring([adapter])
        return adapter

    def _is_over(self, key: Key, reading: _Reading) -> None:
        """It isn't being read any more.

        Raises:
            TaskRemoved: it was removed meanwhile.
        """
        if not reading.dropped:
            del self._reading[key]
        elif reading.reason is not None:
            raise TaskRemoved(reading.reason)

    def _consistent(self, key: Key, place: Place) -> tuple[Adapter, Place]:
        """Read files of one state, and say which: again, where they were replaced meanwhile."""
        task, version = key
        try:
            for _ in range(_TRIES):
                stamp = stamp_of(place.folder) if place.folder else place.stamp
                with private_copy(place.folder or place.source, self._most_bytes) as folder:
                    if place.folder and stamp_of(place.folder) != stamp:
                        continue
                    with self._one_reads:
                        adapter = self._reader.read(task, version, folder, folded=place.folded)
                    return adapter, replace(place, stamp=stamp)
        except OSError as error:
            raise UserError(f"{task} can't be read: {error.strerror}.") from error
        raise UserError(f"{task} was written to while it was read: load it again.")

    def _last(self, key: Key) -> Adapter | None:
        """What was read last of a version, where it still is anywhere."""
        place = self._places.get(key)
        return self._held.get(key) or (None if place is None else self._alive.get((key, place)))

    def _keep(self, key: Key, place: Place, adapter: Adapter) -> None:
        """Hold an adapter, and let those go that weren't asked for the longest."""
        adapter.pinned = key in self._pinned
        before = self._held.pop(key, None)
        if before is not None:
            self._bytes -= before.bytes
        self._held[key] = adapter
        self._bytes += adapter.bytes
        self._places[key] = place
        self._alive[key, place] = adapter
        for other in list(self._held):
            if len(self._held) <= self._most and self._bytes <= self._most_bytes:
                break
            if other != key and not self._held[other].pinned:
                self._bytes -= self._held.pop(other).bytes

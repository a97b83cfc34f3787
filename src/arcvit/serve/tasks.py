"""The tasks that are served: which there are, which version answers, what is in memory of them."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.serve.adapter import Adapter, AdapterReader
from arcvit.serve.engine import Engine
from arcvit.serve.memory import Key, Memory
from arcvit.serve.plan import PLAN_FILE, PlanFile
from arcvit.serve.refusals import Broken, Draining, TaskRemoved, UnknownVersion
from arcvit.serve.registry import Entry, Place, Registry
from arcvit.serve.registry import State as RegistryState
from arcvit.serve.request import State, TaskStatus
from arcvit.serve.settings import ServeSettings
from arcvit.serve.versions import VersionPolicy

_log = logging.getLogger(__name__)
_SCAN_SHARE = 50
"""Between two looks at the folder lies at least so many times what a look takes."""
_SETTLED = 1.0


class Tasks:
    """The tasks of a folder, for one backbone.

    Args:
        folder: of the adapters.
        settings: of the server.
        state_file: where it is kept what was loaded and unloaded; None: in the folder.
        engine: told which adapters should stand on the device, and which should not.

    Raises:
        UserError: the folder or ``adapters.yaml`` isn't what it should be.
    """

    def __init__(
        self,
        folder: Path,
        settings: ServeSettings,
        state_file: Path | None,
        engine: Engine,
    ) -> None:
        self._plan_file = PlanFile(folder)
        self._plan = self._plan_file.read()
        self.registry = Registry(folder, self._plan, state_file)
        self._settings = settings
        self._engine = engine
        self._memory: Memory | None = None
        self._stopped = threading.Event()
        self._looking = threading.Lock()
        self._wrong = ""
        self._plan.check(self.registry.names(self._plan), settings.slots)

    def open(self, reader: AdapterReader) -> list[Adapter]:
        """Take adapters into memory from now on, and look at the folder now and then.

        Returns:
            Those that stay on the device.

        Raises:
            UserError: one of them can't be served.
        """
        self._memory = Memory(
            reader,
            most=self._settings.memory,
            most_bytes=self._settings.memory_mb * 10**6,
            retire=self._engine.retire,
            bring=self._engine.bring,
        )
        most = len(self._plan.folded) * reader.backbone_mb
        if most > self._settings.memory_mb:
            _log.warning(
                "%d folded tasks may take up to %s MB, more than memory_mb, %s: those that weren't"
                " asked for the longest are let go, and read again when they are asked for.",
                len(self._plan.folded),
                f"{most:,}",
                f"{self._settings.memory_mb:,}",
            )
        pinned = []
        places = {name: self.resolve(name) for name in self._plan.pin}
        self._memory.pin([(name, number) for name, (_, number) in places.items()])
        for name, (entry, number) in places.items():
            found = self._memory.get((name, number), entry.places[number])
            try:
                pinned.append(found.result() if isinstance(found, Future) else found)
            except UserError as error:
                raise UserError(f"task {name!r} is pinned and can't be served: {error}") from error
        threading.Thread(target=self._watch, name="arcvit-watcher", daemon=True).start()
        return pinned

    def close(self) -> None:
        """Read nothing more."""
        self._stopped.set()
        if self._memory is not None:
            self._memory.close()

    def resolve(self, task: str, version: int | None = None) -> tuple[Entry, int]:
        """A task, and the version that answers.

        Raises:
            Refused: there is none, or it is unloaded.
        """
        entry = self.registry.entry(task)
        if entry.unloaded:
            raise TaskRemoved(f"task {task!r} was unloaded: load it to use it again.")
        if version is None and entry.served:
            return entry, entry.served[-1]
        if version is None or version not in entry.served:
            raise UnknownVersion(task, version, entry.served)
        return entry, version

    async def adapter(self, task: str, version: int | None = None) -> Adapter:
        """The adapter that answers for a task, read where it wasn't.

        Raises:
            Refused: there is none, or it is unloaded or broken.
        """
        entry, number = self.resolve(task, version)
        found = self._opened.get((task, number), entry.places[number])
        return await _read(task, found) if isinstance(found, Future) else found

    def status(
        self, entry: Entry, resident: frozenset[Adapter], version: int | None = None
    ) -> TaskStatus:
        """How a task stands, for all one knows.

        Args:
            entry: the task.
            resident: the adapters on the device.
            version: of it; None: the one that answers by default.
        """
        number = version or (entry.served[-1] if entry.served else None)
        adapter, reason = None, ""
        if number is not None and self._memory is not None:
            adapter, reason = self._memory.state((entry.name, number))
        state: State = "registered"
        if entry.unloaded:
            state, reason = "unloaded", "it was unloaded"
        elif number is None:
            state, reason = "broken", "none of its versions is served"
        elif adapter is not None:
            state = "ready"
            if reason:
                reason = f"what was read before is served, as its files can't be now: {reason}"
        elif reason:
            state = "broken"
        return TaskStatus(
            name=entry.name,
            version=number,
            versions=entry.served,
            labels=None if adapter is None else adapter.labels,
            calibrated=None if adapter is None else adapter.means is not None,
            kind=None if adapter is None else adapter.about.kind,
            state=state,
            reason=reason,
            resident=adapter in resident,
            pinned=entry.name in self._plan.pin,
            folded=entry.name in self._plan.folded,
        )

    async def load(self, task: str, version_policy: dict[str, Any] | None) -> Entry:
        """Read a task anew and serve it from now on; see ``Service.load``."""
        policy = None if version_policy is None else VersionPolicy.parse(version_policy)
        await asyncio.to_thread(self._follow_plan)
        self._take_off(await asyncio.to_thread(self.registry.gone, task))
        entry = self.registry.entry(task)
        served = (policy or entry.policy).served(entry.places)
        if not served:
            there = ", ".join(map(str, sorted(entry.places)))
            raise UserError(f"task {task!r} has no such version: expected one of {there}.")
        for number in served:
            await self._read_anew((task, number), entry)
        entry = await asyncio.to_thread(self.registry.settle, task, policy, unloaded=False)
        self._take_off([(task, number) for number in entry.places if number not in entry.served])
        self._hold_pinned()
        return entry

    async def unload(self, task: str) -> None:
        """Serve a task no more; see ``Service.unload``."""
        entry = await asyncio.to_thread(self.registry.settle, task, None, unloaded=True)
        self._take_off([(task, number) for number in entry.places])

    async def adopt(self, state: RegistryState) -> None:
        """Take over what was loaded and unloaded elsewhere; see ``Service.adopt``."""
        self.registry.adopt(state)
        for name, reading in await asyncio.to_thread(self._follow_and_look):
            with suppress(UserError):  # what was read before is served, and the status says so
                await _read(name, reading)

    def refresh(self, settled: float = 0) -> None:
        """Look at ``adapters.yaml`` and the folder: what is new, replaced or gone.

        Args:
            settled: seconds for which ``adapters.yaml`` must have stood; it waits for the next look
                where it is newer, as it may be half written.
        """
        if not self._follow_plan(settled):
            self._look()

    def _follow_and_look(self) -> list[tuple[str, Future[Adapter]]]:
        self._follow_plan()
        return self._look()

    def _look(self) -> list[tuple[str, Future[Adapter]]]:
        """Look at the folder; the tasks that are being read again, and the promises of it."""
        self._take_off(self.registry.scan())
        readings = []
        for entry in self.registry.entries():
            for number in entry.served:
                key, place = (entry.name, number), entry.places[number]
                if self._opened.is_outdated(key, place):
                    readings.append((entry.name, self._opened.read(key, place)))
        self._hold_pinned()
        return readings

    def _take_off(self, gone: Iterable[Key]) -> None:
        """Serve versions no more. Where the task has others, what began with these is finished."""
        entries = {entry.name: entry for entry in self.registry.entries()}
        for name, number in gone:
            reason = None
            if name not in entries:
                reason = f"task {name!r} was removed."
            elif entries[name].unloaded:
                reason = f"task {name!r} was unloaded."
            self._opened.remove((name, number), reason)

    def _hold_pinned(self) -> None:
        """Have the versions that answer for pinned tasks stand on the device, and no others stay.

        One that can't be served says so in its state.
        """
        places: dict[Key, Place] = {}
        for name in self._plan.pin:
            with suppress(UserError):
                entry, number = self.resolve(name)
                places[name, number] = entry.places[number]
        self._opened.pin(places)
        found = [self._opened.get(key, place) for key, place in places.items()]
        there = [each for each in found if isinstance(each, Adapter)]  # others come when read
        if away := [each for each in there if each not in self._engine.resident]:
            self._engine.bring(away)

    @property
    def _opened(self) -> Memory:
        assert self._memory is not None  # it is there before requests are taken
        return self._memory

    async def _read_anew(self, key: Key, entry: Entry) -> None:
        place = entry.places[key[1]]
        await _read(key[0], self._opened.read(key, place))
        if self._opened.is_outdated(key, place):  # it was being read already when it was replaced
            await _read(key[0], self._opened.read(key, place))

    def _watch(self) -> None:
        pause = self._settings.watch
        while self._settings.watch and not self._stopped.wait(pause):
            start = time.monotonic()
            try:
                self.refresh(_SETTLED)
            except Exception:  # a folder on a network that is away comes back
                _log.exception("the folder of adapters can't be looked at")
            pause = max(self._settings.watch, _SCAN_SHARE * (time.monotonic() - start))

    def _follow_plan(self, settled: float = 0) -> bool:
        """Go by what ``adapters.yaml`` says now; what it said before goes on where it is wrong.

        Returns:
            Whether that is anything new; then the folder was looked at, too.
        """
        with self._looking:
            if not self._plan_file.is_new(settled):
                return False
            try:
                plan = self._plan_file.read()
                plan.check(self.registry.names(plan), self._settings.slots)
            except (UserError, OSError) as error:
                self._plan_file.forget()
                if str(error) != self._wrong:
                    _log.warning("%s What it said before goes on.", error)
                self._wrong = str(error)
                return False
            _log.info("%s was changed, and is followed from now on", PLAN_FILE)
            self._wrong = ""
            self._plan = plan
            self.registry.follow(plan)
        self._look()
        return True


async def _read(task: str, promise: Future[Adapter]) -> Adapter:
    """What comes of reading a task.

    Raises:
        Refused: it is broken, or was removed meanwhile.
    """
    try:
        # Shielded: others wait for the same.
        return await asyncio.shield(asyncio.wrap_future(promise))
    except TaskRemoved:
        raise
    except UserError as error:
        raise Broken(f"task {task!r} can't be served: {error}") from error
    except asyncio.CancelledError:
        if promise.cancelled():
            raise Draining from None
        raise

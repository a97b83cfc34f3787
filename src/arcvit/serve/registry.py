"""The tasks there are: a folder of adapters, and what was said of them; none is read here.

``DIR/TASK/`` is an adapter or a finished run, or holds versions of it, ``DIR/TASK/1/``, .... Names
that begin with a dot aren't looked at: what is being written has one.
"""

import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.files import read_json, write_json
from arcvit.core.task import TASK_FILE
from arcvit.methods.stored import CONFIG_FILE
from arcvit.recipe.run import ADAPTER_FOLDER
from arcvit.serve.plan import AdaptersPlan, is_task_name
from arcvit.serve.refusals import UnknownTask
from arcvit.serve.versions import VersionPolicy

STATE_FILE = ".serve.json"
NOWHERE = Path(os.devnull)
"""In place of a file: somebody else keeps what was loaded and unloaded."""

Stamp = tuple[tuple[str, int, int, int], ...]
"""Names, dates, sizes and places of the files of an adapter: other ones where it was replaced."""


State = dict[str, dict[str, Any]]
"""What was said of tasks by command, by their names: ``unloaded`` and ``version_policy``."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a version of a task lies.

    Attributes:
        folder: of the adapter; None: it must be brought from the source.
        source: as ``adapters.yaml`` names it; empty: it lies in the folder of tasks.
        folded: whether it gets a model of its own, with the adapter folded in.
        stamp: of its files.
    """

    folder: Path | None
    source: str = ""
    folded: bool = False
    stamp: Stamp = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A task that is registered.

    Attributes:
        name: of the task.
        places: of its versions, by their numbers.
        policy: which of them are served.
        unloaded: whether it was taken off by command.
    """

    name: str
    places: dict[int, Place]
    policy: VersionPolicy = field(default_factory=VersionPolicy)
    unloaded: bool = False

    @property
    def served(self) -> tuple[int, ...]:
        """The versions that may be asked for, in order."""
        return () if self.unloaded else self.policy.served(self.places)


class Registry:
    """The tasks of a folder. All methods may be called from any thread.

    Args:
        folder: the folder.
        plan: what ``adapters.yaml`` says.
        state_file: where it is kept what was loaded and unloaded; None: in the folder.

    Raises:
        UserError: there is no such folder, or the state is damaged.
    """

    def __init__(self, folder: Path, plan: AdaptersPlan, state_file: Path | None = None) -> None:
        if not folder.is_dir():
            raise UserError(f"{str(folder)!r} isn't there: expected a folder of adapters.")
        if (folder / TASK_FILE).is_file():
            raise UserError(
                f"{str(folder)!r} is an adapter itself: expected the folder in which it lies."
            )
        self._folder = folder
        self._plan = plan
        self._state_file = state_file or folder / STATE_FILE
        self._lock = threading.RLock()
        self._state = self._read_state()
        self._entries: dict[str, Entry] = {}
        self.scan()

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def entries(self) -> list[Entry]:
        """All tasks, by name."""
        with self._lock:
            return [self._entries[name] for name in sorted(self._entries)]

    def entry(self, name: str) -> Entry:
        """A task; the folder is looked at for one that isn't registered.

        Raises:
            UnknownTask: there is none.
        """
        found = self._entries.get(name)
        if found is None:
            found = self.look(name)
        if found is None:
            raise UnknownTask(name, self._entries)
        return found

    def look(self, name: str) -> Entry | None:
        """Look again at one task; None: there is none."""
        found = self._found(name) if is_task_name(name) else None
        with self._lock:
            if found is None:
                self._entries.pop(name, None)
            else:
                self._entries[name] = found
        return found

    def follow(self, plan: AdaptersPlan) -> None:
        """Go by another plan from the next look on."""
        self._plan = plan

    def names(self, plan: AdaptersPlan) -> set[str]:
        """What may be tasks, by a plan and by the folder as it is now."""
        with os.scandir(self._folder) as listing:
            there = {item.name for item in listing if is_task_name(item.name) and _is_folder(item)}
        return there | set(plan.sources)

    def scan(self) -> list[tuple[str, int]]:
        """Look at the whole folder; the tasks and versions that are no longer served."""
        gone: list[tuple[str, int]] = []
        for name in sorted(self.names(self._plan) | set(self._entries)):
            gone += self.gone(name)
        return gone

    def gone(self, name: str) -> list[tuple[str, int]]:
        """Look again at one task; its versions that are no longer served."""
        with self._lock:
            before, after = self._entries.get(name), self.look(name)
        served = () if after is None else after.served
        return [(name, v) for v in (before.served if before else ()) if v not in served]

    def settle(self, name: str, policy: VersionPolicy | None, *, unloaded: bool) -> Entry:
        """Keep what was said of a task, also for the next start.

        Raises:
            UnknownTask: there is none.
            UserError: it can't be written.
        """
        with self._lock:
            entry = self.entry(name)
            changed = replace(entry, policy=policy or entry.policy, unloaded=unloaded)
            state = dict(self._state)
            state.pop(name, None)
            if unloaded or changed.policy != VersionPolicy():
                state[name] = {"unloaded": unloaded, "version_policy": changed.policy.record}
            try:
                if self._state_file != NOWHERE:
                    write_json(self._state_file, {"tasks": state})
            except OSError as error:
                raise UserError(
                    f"{self._state_file} can't be written, so {name!r} stays as it is:"
                    f" {error.strerror}; give another file for the state."
                ) from error
            self._state = state
            self._entries[name] = changed
            return changed

    @property
    def state(self) -> State:
        """What was said of tasks."""
        return self._state

    def adopt(self, state: State) -> None:
        """Have what was said of tasks elsewhere hold here from the next look on; not kept."""
        with self._lock:
            self._state = state

    def _found(self, name: str) -> Entry | None:
        plan = self._plan
        source = plan.sources.get(name)
        try:
            places = _places(self._folder / name) if source is None else _elsewhere(source)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:  # a disk on the network that is away comes back
            return self._entries.get(name)
        if not places:
            return None
        if name in plan.folded:
            places = {number: replace(place, folded=True) for number, place in places.items()}
        said = self._state.get(name, {})
        policy = VersionPolicy()
        if "version_policy" in said:
            policy = VersionPolicy.parse(said["version_policy"])
        unloaded = said.get("unloaded") is True
        return Entry(name=name, places=places, policy=policy, unloaded=unloaded)

    def _read_state(self) -> State:
        if self._state_file.is_dir():
            raise UserError(f"{self._state_file} is a folder: expected a file for the state.")
        if not self._state_file.is_file():
            return {}
        tasks = read_json(self._state_file).get("tasks")
        if not isinstance(tasks, dict) or not all(isinstance(v, dict) for v in tasks.values()):
            raise UserError(f"{self._state_file} is damaged: expected tasks; remove it.")
        for name, said in tasks.items():
            try:
                VersionPolicy.parse(said.get("version_policy", VersionPolicy().record))
            except UserError as error:
                raise UserError(
                    f"{self._state_file} is damaged: of {name!r}, {error} Mend or remove it."
                ) from error
        return tasks


def _places(folder: Path) -> dict[int, Place]:
    """The versions in a task's folder, by their numbers."""
    own = _place(folder)
    if own is not None:
        return {1: own}
    versions = {}
    with os.scandir(folder) as listing:
        for item in listing:
            if item.name.isascii() and item.name.isdigit() and not item.name.startswith("0"):
                place = _place(folder / item.name) if len(item.name) < 10 else None
                if place is not None:
                    versions[int(item.name)] = place
    return versions


def _is_folder(item: "os.DirEntry[str]") -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to itself, or a disk that is away
        return False


def _elsewhere(source: str) -> dict[int, Place]:
    folder = Path(source).expanduser()
    if "://" not in source and folder.is_dir():
        places = {number: replace(p, source=source) for number, p in _places(folder).items()}
        if places:
            return places
    return {1: Place(folder=None, source=source)}


def _place(folder: Path) -> Place | None:
    """An adapter, or a finished run's; None: it is neither."""
    for candidate in (folder, folder / ADAPTER_FOLDER):
        with suppress(FileNotFoundError, NotADirectoryError):
            stamp = stamp_of(candidate)
            if any(name in (TASK_FILE, CONFIG_FILE) for name, *_ in stamp):
                return Place(folder=candidate, stamp=stamp)
    return None


def stamp_of(folder: Path) -> Stamp:
    """What changes where files of an adapter are replaced."""
    with os.scandir(folder) as listing:
        files = [(item.name, item.stat()) for item in listing if item.is_file()]
    return tuple(
        (name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in sorted(files)
    )

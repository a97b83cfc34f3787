"""``adapters.yaml``: tasks that stay on the device, are served folded, or lie elsewhere."""

import dataclasses
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from arcvit.core.errors import UserError, nearest
from arcvit.core.settings import check_settings
from arcvit.core.yaml_files import read_yaml

PLAN_FILE = "adapters.yaml"


@dataclass(frozen=True, kw_only=True)
class AdaptersPlan:
    """What ``adapters.yaml`` says."""

    pin: list[str] = field(default_factory=list)
    """Tasks that stay on the device."""
    folded: list[str] = field(default_factory=list)
    """Tasks that are served by a model of their own, with the adapter folded in."""
    sources: dict[str, str] = field(default_factory=dict)
    """Where tasks lie that aren't in the folder: a folder, ``USER/NAME@REVISION`` on the hub, or an
    address that fsspec opens."""

    @classmethod
    def read(cls, folder: Path) -> "AdaptersPlan":
        """The plan in a folder; an empty one where there is no file.

        Raises:
            UserError: the file isn't one.
        """
        file = folder / PLAN_FILE
        if not file.is_file():
            return cls()
        values = read_yaml(file) or {}
        known = [key.name for key in dataclasses.fields(cls)]
        if not isinstance(values, dict):
            raise UserError(f"{file} is {type(values).__name__}: expected {', '.join(known)}.")
        for key in values:
            if key not in known:
                raise UserError(
                    f"{file} has the key {key!r}: expected {', '.join(known)}."
                    f"{nearest(str(key), known)}"
                )
        for key, value in values.items():
            for name in value if isinstance(value, list | dict) else ():
                if isinstance(name, bool | int | float):
                    raise UserError(
                        f"{file}: {key} has {name!r}, which is no text in YAML: put the name in"
                        " quotes."
                    )
        try:
            plan = cls(**values)
            check_settings("", plan)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        for task, source in plan.sources.items():
            if not is_task_name(task):
                raise UserError(f"{file}: sources has {task!r}: expected a name without a slash.")
            if not source.strip():
                raise UserError(
                    f"{file}: sources has nothing for {task!r}: expected a folder, USER/NAME or an"
                    " address."
                )
        return plan

    def check(self, names: Collection[str], slots: int) -> None:
        """See that it fits the tasks there are, and the slots.

        Raises:
            UserError: it doesn't.
        """
        for key, listed in (("pin", self.pin), ("folded", self.folded)):
            for name in listed:
                if name not in names:
                    raise UserError(
                        f"{PLAN_FILE}: {key} has {name!r}, and there is no such task."
                        f"{nearest(name, names)}"
                    )
        if len(self.pin) >= slots:
            raise UserError(
                f"{PLAN_FILE} pins {len(self.pin)} tasks, and there are {slots} slots: expected"
                " more slots than pinned tasks."
            )


class PlanFile:
    """``adapters.yaml`` in a folder, which may change.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp: tuple[int, int, int] | None = None

    def read(self) -> AdaptersPlan:
        """What it says; see ``AdaptersPlan.read``."""
        self._stamp = self._stamp_now()
        return AdaptersPlan.read(self._folder)

    def is_new(self, settled: float) -> bool:
        """Whether it was changed since it was read, and has stood for so many seconds."""
        stamp = self._stamp_now()
        age = time.time() - (0 if stamp is None else stamp[0] / 1e9)
        return stamp != self._stamp and not 0 <= age < settled

    def forget(self) -> None:
        """Read it again at the next look: what it names may come yet."""
        self._stamp = None

    def _stamp_now(self) -> tuple[int, int, int] | None:
        """Date in nanoseconds, size and place: other ones where it was changed."""
        try:
            stat = (self._folder / PLAN_FILE).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def is_task_name(name: str) -> bool:
    """Whether a text may be the name of a task: that of a visible folder, and no path."""
    return bool(name) and not name.startswith(".") and not set(name) & set("/\\\0")

"""One owner for a folder: a second process is refused, the place of a dead one is taken.

``.lock`` says who works in the folder: host, process and when that began. Its date is the owner's
last sign of life. Whether a process lives can only be asked on its own host, so an owner elsewhere
is never presumed dead.
"""

import contextlib
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.files import read_json

LOCK_FILE = ".lock"
_HEARTBEAT = 30.0
_HIDDEN = "hidden"
"""Started when? The system doesn't tell of another user's process, but it is there."""
_ROOT_NAMESPACE = "pid:[4026531836]"


class Lock:
    """A folder that this process owns.

    Attributes:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._owner = _myself()

    def check(self) -> None:
        """Refuse to go on where the folder has been taken away.

        Raises:
            UserError: it was removed, or belongs to another process.
        """
        if not self._is_ours():
            raise UserError(
                f"{self.folder} was removed or taken over by another process meanwhile: nothing"
                " more is written to it, start again with another --out."
            )

    def release(self) -> None:
        """Let others in. A process that was forked off doesn't own what its parent does."""
        if self._is_ours():
            (self.folder / LOCK_FILE).unlink(missing_ok=True)

    def _is_ours(self) -> bool:
        return _owner_of(self.folder) == self._owner == _myself()


@contextmanager
def locked(folder: Path) -> Iterator[Lock]:
    """Own a folder, which is made if need be; one that is empty afterwards goes away.

    Raises:
        UserError: another process owns it, or may own it; or it was removed while it was owned.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    lock, stop = Lock(folder), threading.Event()
    try:
        _take(folder)
        threading.Thread(target=_show_life, args=(folder, stop), daemon=True).start()
        try:
            yield lock
        except Exception:
            lock.check()  # where the folder is gone, that is the reason
            raise
        finally:
            stop.set()
            lock.release()
    finally:
        with contextlib.suppress(OSError):  # the first that isn't empty ends it
            for path in made or [folder]:
                path.rmdir()


def break_lock(folder: Path) -> None:
    """Remove the lock of an owner that is known to be dead, as one on a machine that is gone."""
    (folder / LOCK_FILE).unlink(missing_ok=True)


def forget_dead(folder: Path) -> None:
    """Remove the lock of a dead owner where nobody wants the folder any more."""
    owner = _owner_of(folder)
    if owner is not None and _is_dead(owner):
        break_lock(folder)


def _take(folder: Path) -> None:
    lock = folder / LOCK_FILE
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # who ended just now removed the folder
            if _create(lock):
                return
        owner = _owner_of(folder)
        if owner is None:
            continue  # released just now
        if not _is_dead(owner):
            raise UserError(_refusal(folder, owner))
        # Of several that find a dead owner, the first one to move its lock away goes on; who was
        # slower has moved the lock of that one, and puts it back.
        aside = lock.with_name(f"{LOCK_FILE}.outdated-{os.getpid()}")
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            lock.rename(aside)
            if read_json(aside) != owner:
                os.link(aside, lock)
        aside.unlink(missing_ok=True)


def _create(lock: Path) -> bool:
    """Make the lock; False: there is one."""
    content = json.dumps(_myself())
    partial = lock.with_name(f"{LOCK_FILE}.partial-{os.getpid()}")
    try:
        partial.write_text(content, encoding="utf-8")
        try:
            # A link appears with its content: a kill can't leave a lock that says nothing.
            os.link(partial, lock)
        except OSError:  # some disks have no links
            with lock.open("x", encoding="utf-8") as file:
                file.write(content)
    except FileExistsError:
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _show_life(folder: Path, stop: threading.Event) -> None:
    while not stop.wait(_HEARTBEAT):
        with contextlib.suppress(OSError):
            os.utime(folder / LOCK_FILE)


def _owner_of(folder: Path) -> dict[str, Any] | None:
    """What its lock says; None: there is none."""
    try:
        return read_json(folder / LOCK_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UserError:
        return {}


def _myself() -> dict[str, Any]:
    return {
        "host": _host(),
        "boot": _line("/proc/sys/kernel/random/boot_id"),
        "process": os.getpid(),
        "started": _started(os.getpid()),
    }


def _host() -> str:
    """What tells hosts apart; a container numbers its processes itself and is one of its own."""
    name = f"{platform.node() or 'this host'} {_line('/etc/machine-id')}".strip()
    with contextlib.suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
        if namespace != _ROOT_NAMESPACE:
            return f"{name} {_line('/proc/sys/kernel/random/boot_id')} {namespace}"
    return name


def _is_dead(owner: dict[str, Any]) -> bool:
    me = _myself()
    if owner.get("host") != me["host"]:
        return False
    # Started again, the host has other processes; and a number may be another process by now.
    return owner["boot"] != me["boot"] or _started(owner["process"]) not in (
        owner["started"],
        _HIDDEN,
    )


def _started(process: int) -> str | None:
    """When a process began, in words of the system; None: it has ended."""
    if sys.platform != "linux":
        import psutil  # comes with accelerate

        try:
            return str(psutil.Process(process).create_time())
        except psutil.NoSuchProcess:
            return None
        except psutil.AccessDenied:
            return _HIDDEN
    # Behind the name, which may hold anything: the state, and as the 20th the time in ticks.
    fields = _line(f"/proc/{process}/stat").rpartition(")")[2].split()
    if fields:
        return None if fields[0] in "ZX" else fields[19]
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return _HIDDEN


def _line(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _refusal(folder: Path, owner: dict[str, Any]) -> str:
    lock = folder / LOCK_FILE
    host = str(owner.get("host", "unknown"))
    who = f"{folder} is in use by process {owner.get('process', '?')} on {host.split(' ')[0]}"
    if host == _host():
        return f"{who}: wait until it ends, or choose another --out."
    with contextlib.suppress(OSError):
        who += f", last seen {max(0, round(time.time() - lock.stat().st_mtime))} s ago"
    return (
        f"{who}: wait until it ends, choose another --out, or remove {lock} where you know that it"
        " is dead."
    )

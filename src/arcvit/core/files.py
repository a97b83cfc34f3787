"""Files that are either whole or not there: write beside the target, then rename over it.

What was written is on the disk before it gets its name, so a power cut leaves no empty file.
"""

import contextlib
import errno
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError

_FAILED_WRITES = (
    *("PytorchStreamWriter", "inline_container", "iostream error"),  # torch
    "Failed to write :",  # ONNX Runtime, of an adapter
)
_LEFTOVER = re.compile(r"\.(?P<target>.+)\.(?P<kind>partial|outdated)-.+")
_MANY = 100
MOST_BYTES = 64 * 2**20
"""As large may a JSON file be: a million class names have a third of it."""


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a path to write to; on success it replaces ``target``, on an error it is removed.

    The written thing may be a file or a folder. The rename happens on one file system, so a reader
    sees the old content or the new, never a part.

    Raises:
        UserError: the target is the folder that one stands in, or where a disk is mounted: nothing
            can take its place.
    """
    if not target.name or os.path.ismount(target):
        what = "where a disk is mounted" if target.name else "the folder you are in"
        raise UserError(f"{str(target)!r} is {what}: expected a name in it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}{target.suffix}")
    try:
        with disk_errors(target):
            yield partial
        put_in_place(partial, target)
    finally:
        _remove(partial)


@contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Raise OSError where the libraries that write tensors call a full disk something else."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(target)) from error
    except RuntimeError as error:
        if not any(word in str(error) for word in _FAILED_WRITES):
            raise
        # They don't tell why; on most disks there is one reason.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error


def put_in_place(partial: Path, target: Path) -> None:
    """Rename a finished file or folder over its target.

    A folder can't be renamed over a full one: the old one is moved away first. A process that is
    killed in between leaves it there; :func:`settle` brings it back.

    Others may read it as the umask says: safetensors writes files for their owner alone.

    Raises:
        IsADirectoryError: a file was to replace a folder, which would be lost with all in it.
    """
    if target.is_dir() and not partial.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    inside = list(partial.rglob("*"))
    _open_to_others([path for path in (*inside, partial) if path.is_file()], target)
    if len(inside) > _MANY and hasattr(os, "sync"):
        os.sync()  # waits for all there is, but once
    else:
        for path in (*inside, partial):
            _sync(path)
    outdated = target.with_name(f".{target.name}.outdated-{os.getpid()}")
    if target.is_dir():
        target.rename(outdated)
    partial.replace(target)
    _sync(target.parent)
    shutil.rmtree(outdated, ignore_errors=True)


def is_leftover(path: Path) -> bool:
    """Whether a writer that was killed left this behind: a file or folder that has no name yet."""
    return _LEFTOVER.fullmatch(path.name) is not None


def settle(folder: Path) -> None:
    """Clean up after killed writers: what they wrote is whole or not there afterwards.

    Not to be called while another process may be writing into the folder.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        found = _LEFTOVER.fullmatch(path.name)
        if found is None:
            continue
        target = path.with_name(found["target"])
        if found["kind"] == "outdated" and not target.exists():
            path.rename(target)
        else:
            _remove(path)


def write_text(target: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write a JSON file atomically, keys in the given order; what isn't finite becomes null."""
    write_text(target, to_json(value, indent=2) + "\n")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON, which has no NaN and no infinity: null takes their place."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(file: Path, *, most: int = MOST_BYTES) -> dict[str, Any]:
    """The object in a JSON file of so many bytes at most.

    Raises:
        UserError: the file is damaged, too large, or holds something else.
    """
    if file.stat().st_size > most:
        raise UserError(f"{file} has more than {most:,} bytes: expected a small JSON file.")
    try:
        record = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse)
        # JSON can spell half a letter, which can't be printed or written, except the halves by
        # which Python names files whose names aren't UTF-8.
        json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogateescape")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged: expected JSON ({error}).") from error
    if not isinstance(record, dict):
        raise UserError(f"{file} is damaged: expected a JSON object.")
    return record


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _open_to_others(files: list[Path], target: Path) -> None:
    """Give files that are their owner's alone the permissions of any new file."""
    private = [file for file in files if not file.stat().st_mode & 0o077]
    if not private:
        return
    # To ask for the umask is to change it, for all threads: a new file tells it as well.
    new = target.with_name(f".{target.name}.partial-{os.getpid()}-mode")
    try:
        os.close(os.open(new, os.O_CREAT | os.O_WRONLY, 0o666))
        permissions = new.stat().st_mode & 0o777
    finally:
        new.unlink(missing_ok=True)
    for file in private:
        if stat.S_IMODE(file.stat().st_mode) != permissions:  # some disks refuse any chmod
            file.chmod(permissions)


def _sync(path: Path) -> None:
    """Wait until a file or the names in a folder are on the disk."""
    if path.is_dir():
        # Windows can't open a folder, and some network disks can't sync one.
        with contextlib.suppress(OSError):
            _sync_open(os.open(path, os.O_RDONLY))
    else:
        _sync_open(os.open(path, os.O_RDWR))


def _sync_open(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

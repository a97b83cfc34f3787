"""Files that are either whole or not there: write beside the target, then rename over it."""

import glob
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from arcvit.core.errors import UserError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a path to write to; on success it replaces ``target``, on an error it is removed.

    The written thing may be a file or a folder. The rename happens on one file system, so a reader
    sees the old content or the new, never a part.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}{target.suffix}")
    try:
        yield partial
        put_in_place(partial, target)
    finally:
        _remove(partial)


def put_in_place(partial: Path, target: Path) -> None:
    """Rename a finished file or folder over its target.

    A folder can't be renamed over a full one: the old one is moved away first. A process that is
    killed in between leaves it there; :func:`settle` brings it back.
    """
    if not target.is_dir():
        partial.replace(target)
        return
    outdated = target.with_name(f".{target.name}.outdated-{os.getpid()}")
    target.rename(outdated)
    partial.rename(target)
    shutil.rmtree(outdated)


def settle(target: Path) -> None:
    """Clean up after a writer of ``target`` that was killed: it is whole or not there afterwards.

    Not to be called while another process may be writing it.
    """
    name = glob.escape(target.name)
    for outdated in sorted(target.parent.glob(f".{name}.outdated-*")):
        if target.exists():
            _remove(outdated)
        else:
            outdated.rename(target)
    for partial in sorted(target.parent.glob(f".{name}.partial-*")):
        _remove(partial)


def write_text(target: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write a JSON file atomically, keys in the given order; NaN and infinity are refused."""
    write_text(target, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UserError: the file is damaged or holds something else.
    """
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is damaged: expected JSON ({error}).") from error
    if not isinstance(record, dict):
        raise UserError(f"{file} is damaged: expected a JSON object.")
    return record


def read_yaml(file: Path) -> Any:
    """What a YAML file holds; JSON is YAML too.

    Raises:
        UserError: it isn't YAML.
    """
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} isn't YAML ({' '.join(str(error).split())[:200]}).") from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

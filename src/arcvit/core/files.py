"""Files that are either whole or not there: write beside the target, then rename over it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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
        if target.is_dir():
            # A folder can't be renamed over a full one: move the old one away first.
            outdated = target.with_name(f".{target.name}.outdated-{os.getpid()}")
            target.rename(outdated)
            partial.rename(target)
            shutil.rmtree(outdated)
        else:
            partial.replace(target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write a JSON file atomically, keys in the given order; NaN and infinity are refused."""
    write_text(target, json.dumps(value, indent=2, allow_nan=False) + "\n")

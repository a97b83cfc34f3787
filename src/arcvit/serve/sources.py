"""The files of an adapter, wherever it lies, in a private copy.

Tensors of a safetensors file stay a part of it: where somebody writes into it, the process that has
read it changes its mind or dies.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.task import TASK_FILE
from arcvit.export.hub import pull_folder
from arcvit.methods.means import MEANS_FILE
from arcvit.methods.stored import ADAPTER_FILE, CONFIG_FILE, WHOLE_FILE

_FILES = (TASK_FILE, CONFIG_FILE, ADAPTER_FILE, MEANS_FILE, WHOLE_FILE)
"""All that is looked at: data, and nothing that could be run."""


@contextmanager
def private_copy(source: str | Path, most_bytes: int) -> Iterator[Path]:
    """Within the context, a folder with the files of an adapter.

    Args:
        source: a folder, an address with its protocol, or ``USER/NAME`` on the hub with ``@`` and a
            revision.
        most_bytes: of the files together.

    Raises:
        UserError: it can't be had, or is larger.
    """
    with tempfile.TemporaryDirectory(prefix="arcvit-adapter-") as name:
        target = Path(name)
        if isinstance(source, str) and "://" in source:
            _from_address(source.rstrip("/"), target, most_bytes)
        else:
            folder = source if isinstance(source, Path) else _here(source)
            files = [folder / file for file in _FILES if (folder / file).is_file()]
            _check_size(str(source), sum(file.stat().st_size for file in files), most_bytes)
            for file in files:
                shutil.copyfile(file, target / file.name)
        yield target


def _here(source: str) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or source.startswith((".", "~")):
        raise UserError(f"{source!r} isn't there: expected a folder.")
    repo, _, revision = source.partition("@")
    return pull_folder(repo, revision=revision or None)


def _from_address(address: str, target: Path, most_bytes: int) -> None:
    from fsspec.core import url_to_fs

    root = address
    try:
        system: Any
        system, root = url_to_fs(address, use_listings_cache=False)
        listed = system.ls(root, detail=True)
        there = {str(item["name"]).rpartition("/")[2]: item for item in listed}
        wanted = [name for name in _FILES if name in there]
        size = sum(there[name]["size"] or 0 for name in wanted)
        _check_size(address, size, most_bytes)
        for name in wanted:
            system.get_file(f"{root}/{name}", str(target / name))
    except UserError:
        raise
    except Exception as error:  # each protocol's library has its own
        text = " ".join(str(error).split()).replace(root, address)[:200]
        raise UserError(f"{address} can't be read: {type(error).__name__}: {text}.") from error


def _check_size(source: str, size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise UserError(
            f"{source} has {size:,} bytes, more than all adapters in memory may have,"
            f" {most_bytes:,}."
        )

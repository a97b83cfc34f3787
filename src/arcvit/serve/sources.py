"""Where adapters lie that aren't in the folder: brought here when they are wanted."""

import tempfile
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.task import TASK_FILE
from arcvit.export.hub import pull_folder
from arcvit.methods.means import MEANS_FILE
from arcvit.methods.stored import CONFIG_FILE, WHOLE_FILE

_FILES = (TASK_FILE, CONFIG_FILE, "adapter_model.safetensors", MEANS_FILE, WHOLE_FILE)
"""All that is brought: data, and nothing that could be run."""


def bring(source: str) -> Path:
    """The folder of an adapter that lies anywhere.

    Args:
        source: a folder, an address with its protocol, or ``USER/NAME`` on the hub with ``@`` and a
            revision.

    Raises:
        UserError: it can't be had.
    """
    if "://" in source:
        return _from_address(source.rstrip("/"))
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or source.startswith((".", "~")):
        raise UserError(f"{source!r} isn't there: expected a folder.")
    repo, _, revision = source.partition("@")
    return pull_folder(repo, revision=revision or None)


def _from_address(address: str) -> Path:
    from fsspec.core import url_to_fs

    folder = Path(tempfile.mkdtemp(prefix="arcvit-adapter-"))
    try:
        system, root = url_to_fs(address, use_listings_cache=False)
        there = {str(file).rpartition("/")[2] for file in system.ls(root, detail=False)}
        for name in _FILES:
            if name in there:
                system.get_file(f"{root}/{name}", str(folder / name))
    except Exception as error:  # each protocol's library has its own
        text = " ".join(str(error).split())[:200]
        raise UserError(f"{address} can't be read: {type(error).__name__}: {text}.") from error
    return folder

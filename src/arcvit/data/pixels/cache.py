"""Decoded images on disk, for splits that don't fit in memory.

One folder for each set of files and way to decode them: ``images.npy``, a ``uint8`` array
(N, 3, H, W), ``unreadable.json``, and what they are of. Entries are found again by a hash of what
made them.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import PIL
import torch
from torch import Tensor

from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path, write_json
from arcvit.core.turns import one_at_a_time
from arcvit.data.pixels.kept import ABOUT_FILE
from arcvit.data.pixels.preset import Preprocessing

Decode = Callable[[Tensor], dict[int, str]]
"""Fills a tensor and returns the reason for each row that it could not fill."""


def cached_images(
    folder: Path, paths: Sequence[Path], prep: Preprocessing, decode: Decode
) -> tuple[Tensor, dict[int, str]]:
    """Decoded images from the cache, decoded now if they are not in it.

    Of several processes of a machine one decodes, and all map the same pages of memory.

    Args:
        folder: holds the cache; entries in it are removed by ``arcvit data cache`` alone.
        paths: image files.
        prep: how they are resized and cropped.
        decode: fills the tensor. An error it raises leaves no entry behind.

    Returns:
        What ``decode`` made: images ``uint8`` (N, 3, *prep.stored), mapped from the file and not
        to be written to, and the reasons.

    Raises:
        UserError: the disk has too little room.
    """
    shape = (len(paths), 3, *prep.stored)
    entry = folder / _key(paths, prep)
    found = _open(entry, shape)
    if found is None:
        with one_at_a_time(folder / f".{entry.name}.lock"):
            found = _open(entry, shape)
            if found is None:
                found = _made(entry, shape, paths, decode)
    with contextlib.suppress(OSError):
        os.utime(entry / ABOUT_FILE)  # when it was last used
    return found


def room_in(folder: Path) -> int:
    """Bytes that the disk of a folder, which need not be there yet, has free."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def _made(
    entry: Path, shape: tuple[int, ...], paths: Sequence[Path], decode: Decode
) -> tuple[Tensor, dict[int, str]]:
    folder, needed = entry.parent, math.prod(shape)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f".{entry.name}.partial-*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    # A memory map that runs out of disk ends the process without an error.
    if needed > (free := room_in(folder)):
        raise UserError(
            f"{folder} has {free / 2**30:.1f} GiB free: expected {needed / 2**30:.1f} GiB for"
            " the decoded images, make room or choose another cache folder."
        )
    try:
        with atomic_path(entry) as partial:
            _write(partial, shape, decode)
            about = {"from": _common(paths), "images": len(paths)}
            write_json(partial / ABOUT_FILE, about)
    except OSError:
        # Another machine that put the same entry there at the same moment is no error.
        if _open(entry, shape) is None:
            raise
    found = _open(entry, shape)
    if found is None:
        raise UserError(f"{entry} can't be read back: choose another cache folder.")
    return found


def _write(entry: Path, shape: tuple[int, ...], decode: Decode) -> None:
    entry.mkdir()
    file = entry / "images.npy"
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as stream:  # so that nobody else takes the room meanwhile
            os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    bad = decode(torch.from_numpy(array))
    array.flush()
    write_json(entry / "unreadable.json", [[row, why] for row, why in bad.items()])


def _common(paths: Sequence[Path]) -> str:
    """The folder that all images are in."""
    try:
        return os.path.commonpath([os.path.abspath(path.parent) for path in paths])
    except ValueError:  # none, or on several drives
        return ""


def _open(entry: Path, shape: tuple[int, ...]) -> tuple[Tensor, dict[int, str]] | None:
    """What an entry holds, or None where it is missing or damaged."""
    try:
        # One that could be written to counts as memory, so that it couldn't be larger than that.
        array = np.load(entry / "images.npy", mmap_mode="r")
        listed = json.loads((entry / "unreadable.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, EOFError):
        return None
    if array.shape != shape or array.dtype != np.uint8:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # torch has no such tensors
        images = torch.from_numpy(array)
    return images, {int(row): str(reason) for row, reason in listed}


def _key(paths: Sequence[Path], prep: Preprocessing) -> str:
    # Mean, std and flip act after the cache: presets that differ in them alone share an entry.
    # Another Pillow may decode to other pixels.
    sizes = [prep.stored, prep.resized, prep.resize, prep.interpolation]
    how = [*sizes, asdict(prep.decoding), PIL.__version__]
    digest = hashlib.sha256(json.dumps(how).encode())
    for path in paths:
        try:
            stat = path.stat()
            state = f"{stat.st_mtime_ns} {stat.st_size}"
        except OSError:
            state = "missing"
        digest.update(f"\n{os.path.abspath(path)}\0{state}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]

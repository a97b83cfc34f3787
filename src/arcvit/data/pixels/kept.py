"""What the cache of decoded images and unpacked containers holds, and which of it to remove."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.files import is_leftover, read_json

ABOUT_FILE = "about.json"
"""Which images an entry is of: their folder and number. It is dated by the entry's last use."""
UNPACKED = "unpacked"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An entry of the cache.

    Attributes:
        folder: where it is.
        source: the folder of its images, or the container; empty: it doesn't tell.
        images: their number; None: it doesn't tell.
        size: bytes on the disk.
        used: when it was last used, in seconds since 1970.
    """

    folder: Path
    source: str
    images: int | None
    size: int
    used: float


def kept_in(cache: Path) -> list[Kept]:
    """What a cache folder holds, the last used first."""
    folders = [file.parent for file in cache.glob("*/images.npy")]
    folders += [path for path in (cache / UNPACKED).glob("*") if path.is_dir()]
    # What is being written has no name yet: its writer would fail without it.
    found = [_kept(folder) for folder in folders if not is_leftover(folder)]
    return sorted(found, key=lambda entry: (-entry.used, entry.folder))


def beyond(entries: Sequence[Kept], most: int) -> list[Kept]:
    """Those that were used longest ago, without which at most so many bytes are left."""
    left, surplus = 0, []
    for entry in entries:
        if left + entry.size <= most:
            left += entry.size
        else:
            surplus.append(entry)
    return surplus


def remove(entry: Kept) -> None:
    """Remove an entry. A run that maps it keeps its images until it ends."""
    shutil.rmtree(entry.folder)


def _kept(folder: Path) -> Kept:
    about, record = folder / ABOUT_FILE, {}
    try:
        record = read_json(about)
    except (OSError, UserError):
        about = folder
    images = record.get("images")
    return Kept(
        folder=folder,
        source=str(record.get("from", "")),
        images=images if isinstance(images, int) else None,
        size=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        used=about.stat().st_mtime,
    )

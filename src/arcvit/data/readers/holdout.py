"""Stratified hold-out: take a fixed share of every class out of a split."""

import hashlib
from pathlib import Path

from arcvit.data.task import Split


def hold_out(split: Split, fraction: float, *, seed: int, root: Path) -> tuple[Split, Split]:
    """Take ``round(fraction * n)`` of the n images of every class out of a split.

    Which ones is decided by ``rank``. So the choice depends on neither the order of the images nor
    the machine, and images added later move few of the others. Every class keeps at least one
    image.

    Args:
        split: what to divide.
        fraction: share to take out, in [0, 1).
        seed: another seed makes another choice.
        root: folder that the paths lie in.

    Returns:
        The images kept and those held out, each in the order of ``split``.
    """
    members: dict[int, list[int]] = {}
    for row, label in enumerate(split.labels):
        members.setdefault(label, []).append(row)
    held = [False] * len(split)
    for rows in members.values():
        count = min(round(fraction * len(rows)), len(rows) - 1)
        for row in sorted(rows, key=lambda row: rank(split.paths[row], seed, root))[:count]:
            held[row] = True
    kept = [row for row in range(len(split)) if not held[row]]
    return split.rows(kept), split.rows(row for row in range(len(split)) if held[row])


def rank(path: Path, seed: int, root: Path) -> bytes:
    """Where an image comes in a draw: a hash of the seed and of the path inside ``root``."""
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    return hashlib.sha256(f"{seed}:{inside.as_posix()}".encode("utf-8", "surrogateescape")).digest()

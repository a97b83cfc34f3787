"""Stratified hold-out: take a fixed share of every class out of a split."""

import hashlib
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.data.task import Split


def check_fraction(name: str, value: float) -> None:
    """Refuse a share outside [0, 1).

    Raises:
        UserError: names the setting and its value.
    """
    if not 0 <= value < 1:
        raise UserError(f"{name} is {value}: expected a share of at least 0 and less than 1.")


def hold_out(split: Split, fraction: float, *, seed: int, root: Path) -> tuple[Split, Split]:
    """Take ``round(fraction * n)`` of the n images of every class out of a split.

    Which ones is decided by a hash of the seed and of the path inside ``root``. So the choice
    depends on neither the order of the images nor the machine, and images added later move few of
    the others. Every class keeps at least one image.

    Args:
        split: what to divide.
        fraction: share to take out, in [0, 1).
        seed: another seed makes another choice.
        root: folder that the paths lie in.

    Returns:
        The images kept and those held out, each in the order of ``split``.
    """

    def rank(index: int) -> bytes:
        path = split.paths[index]
        inside = path.relative_to(root) if path.is_relative_to(root) else path
        key = f"{seed}:{inside.as_posix()}"
        return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()

    members: dict[int, list[int]] = {}
    for index, label in enumerate(split.labels):
        members.setdefault(label, []).append(index)
    held = [False] * len(split)
    for indices in members.values():
        count = min(round(fraction * len(indices)), len(indices) - 1)
        for index in sorted(indices, key=rank)[:count]:
            held[index] = True
    return _where(split, held, False), _where(split, held, True)


def _where(split: Split, held: list[bool], wanted: bool) -> Split:
    rows = [index for index, is_held in enumerate(held) if is_held == wanted]
    return Split(
        paths=tuple(split.paths[i] for i in rows), labels=tuple(split.labels[i] for i in rows)
    )

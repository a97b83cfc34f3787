"""Stratified hold-out: take a fixed share of every class out of a split, groups as a whole."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from arcvit.data.readers.stratify import stratify
from arcvit.data.task import Split


def hold_out(
    split: Split,
    fraction: float,
    *,
    seed: int,
    root: Path,
    groups: Mapping[Path, str] | None = None,
) -> tuple[Split, Split]:
    """Take ``round(fraction * n)`` of the n images of every class out of a split.

    Which ones is decided by ``rank``. So the choice depends on neither the order of the images nor
    the machine, and images added later move few of the others. Every class keeps at least one
    image. Groups are kept together, so that shares are met as far as they allow. Images of several
    labels are divided by iterative stratification, where those added later may move others.

    Args:
        split: what to divide.
        fraction: share to take out, in [0, 1).
        seed: another seed makes another choice.
        root: folder that the paths lie in.
        groups: for each image what it shows; None: each stands for itself.

    Returns:
        The images kept and those held out, each in the order of ``split``.
    """
    if split.kind == "multilabel":
        order_of_draw = members_by_rank(split, seed=seed, root=root, groups=groups or {})
        return _hold_out_of_sets(split, fraction, order_of_draw)
    whole = Counter(split.labels)
    wanted = {label: min(round(fraction * n), n - 1) for label, n in whole.items()}
    held: set[int] = set()
    of_held: Counter[int] = Counter()
    members = _members(split, root, groups or {})
    order = sorted(members, key=lambda name: _digest(name, seed))
    # First the groups of which at least half is wanted. Of classes that have larger ones alone,
    # one is too much, and better than none.
    for name, too_large in [(name, late) for late in (False, True) for name in order]:
        of_group = Counter(split.labels[row] for row in members[name])
        useful = sum(min(n, max(wanted[c] - of_held[c], 0)) for c, n in of_group.items())
        none_yet = any(wanted[c] > 0 and of_held[c] == 0 for c in of_group)
        fits = none_yet if too_large else useful > 0 and 2 * useful >= of_group.total()
        spares = all(of_held[c] + n < whole[c] for c, n in of_group.items())
        if fits and spares and held.isdisjoint(members[name]):
            held.update(members[name])
            of_held += of_group
    return _divided(split, held)


def _hold_out_of_sets(
    split: Split, fraction: float, members: list[list[int]]
) -> tuple[Split, Split]:
    units = [[split.label_sets[row] for row in rows] for rows in members]
    parts = stratify(units, (1 - fraction, fraction), keeps_all=True)
    held = [rows for rows, part in zip(members, parts, strict=True) if part == 1]
    return _divided(split, {row for rows in held for row in rows})


def _divided(split: Split, held: set[int]) -> tuple[Split, Split]:
    kept = (row for row in range(len(split)) if row not in held)
    return split.rows(kept), split.rows(sorted(held))


def members_by_rank(
    split: Split, *, seed: int, root: Path, groups: Mapping[Path, str]
) -> list[list[int]]:
    """The rows of each group, or of each image that is in none, in the order of a draw."""
    members = _members(split, root, groups)
    return [members[name] for name in sorted(members, key=lambda name: _digest(name, seed))]


def rank(path: Path, seed: int, root: Path) -> bytes:
    """Where an image comes in a draw: a hash of the seed and of the path inside ``root``."""
    return _digest(_inside(path, root), seed)


def _inside(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _members(split: Split, root: Path, groups: Mapping[Path, str]) -> dict[str, list[int]]:
    """The rows of each group; an image that is in none is one by itself."""
    found: dict[str, list[int]] = {}
    for row, path in enumerate(split.paths):
        name = f"group {groups[path]}" if path in groups else _inside(path, root)
        found.setdefault(name, []).append(row)
    return found


def _digest(name: str, seed: int) -> bytes:
    text = unicodedata.normalize("NFC", f"{seed}:{name}")
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()

"""How images of several labels are divided: by share, with groups whole, the rarest label first."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from arcvit.data.readers.folds import fold
from arcvit.data.readers.holdout import hold_out
from arcvit.data.readers.stratify import NO_LABEL, label_counts, stratify
from arcvit.data.task import ImageTask, Split

ROOT = Path("/photos")
RATES = (0.5, 0.3, 0.1, 0.05, 0.02)


def photos(count: int = 400) -> Split:
    draws = np.random.default_rng(0)
    chosen = [np.flatnonzero(draws.random(len(RATES)) < RATES).tolist() for _ in range(count)]
    return Split.of_sets((ROOT / f"{index:03d}.png", own) for index, own in enumerate(chosen))


def test_every_part_has_its_share_of_every_label() -> None:
    split = photos()
    whole = label_counts(split.label_sets)
    kept, held = hold_out(split, 0.25, seed=0, root=ROOT)
    assert sorted(kept.paths + held.paths) == sorted(split.paths)
    found = label_counts(held.label_sets)
    for label, n in whole.items():
        assert abs(found[label] - 0.25 * n) <= 2, label
    assert found[NO_LABEL] > 10
    # By chance alone some label differs by more.
    some = np.random.default_rng(0).permutation(400)[:100].tolist()
    drawn = label_counts(split.rows(some).label_sets)
    assert max(abs(drawn[label] - 0.25 * n) for label, n in whole.items()) > 2


def test_the_seed_decides_and_not_the_order() -> None:
    split = photos(80)
    turned = split.rows(range(79, -1, -1))
    first = set(hold_out(split, 0.25, seed=0, root=ROOT)[1].paths)
    assert set(hold_out(turned, 0.25, seed=0, root=ROOT)[1].paths) == first
    assert set(hold_out(split, 0.25, seed=1, root=ROOT)[1].paths) != first


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.9])
def test_no_label_is_held_out_whole(fraction: float) -> None:
    for size in (2, 3, 7):
        split = Split.of_sets((ROOT / f"{i}", [i % 2, 2] if i else [3]) for i in range(size))
        kept, held = hold_out(split, fraction, seed=0, root=ROOT)
        assert kept.seen == split.seen
        assert bool(held) == (fraction > 0 and size > 3)


def test_groups_stay_together() -> None:
    split = photos(120)
    groups = {path: f"room {row // 4}" for row, path in enumerate(split.paths)}
    kept, held = hold_out(split, 0.25, seed=0, root=ROOT, groups=groups)
    assert not {groups[p] for p in kept.paths} & {groups[p] for p in held.paths}
    assert 20 <= len(held) <= 40


@pytest.mark.parametrize("grouped", [False, True])
def test_folds(grouped: bool) -> None:
    split = photos(200)
    groups = {path: f"room {row // 4}" for row, path in enumerate(split.paths)}
    task = ImageTask(
        name="photos",
        root=ROOT,
        layout="table",
        classes=tuple("abcde"),
        splits={"train": split},
        groups=groups if grouped else {},
    )
    parts = [fold(task, number, folds=4, seed=0) for number in range(4)]
    held = [part.split("val") for part in parts]
    assert sorted(path for part in held for path in part.paths) == sorted(split.paths)
    for part in parts:
        assert part.kind == "multilabel"
        if grouped:
            rooms = [{groups[p] for p in part.split(s).paths} for s in ("train", "val")]
            assert not rooms[0] & rooms[1]
    counts = [label_counts(part.label_sets) for part in held]
    for label in range(3):
        found = [count[label] for count in counts]
        assert max(found) - min(found) <= (12 if grouped else 3)


def test_parts_are_of_a_size() -> None:
    sizes = Counter(stratify([[labels] for labels in photos(60).label_sets], [0.1] * 10))
    assert set(sizes.values()) == {6}


def test_the_rarest_label_goes_first() -> None:
    """The example has one way for both parts to get a 2 and half of the others."""
    units = [[(0,)], [(0, 2)], [(0, 1)], [(1, 2)]]
    parts = stratify(units, (0.5, 0.5))
    assert {parts[1], parts[3]} == {0, 1}
    assert Counter(parts) == {0: 2, 1: 2}

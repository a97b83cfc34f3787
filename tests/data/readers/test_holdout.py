from collections import Counter
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.holdout import hold_out
from arcvit.data.readers.reader import Opening
from arcvit.data.task import Split

ROOT = Path("/data/birds")
SIZES = (1, 2, 3, 10, 57)


def make_split(root: Path = ROOT) -> Split:
    pairs = [(root / f"{c}/{i}.jpg", c) for c, size in enumerate(SIZES) for i in range(size)]
    return Split(paths=tuple(p for p, _ in pairs), labels=tuple(c for _, c in pairs))


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.99])
def test_hold_out_is_stratified_disjoint_and_complete(fraction: float) -> None:
    split = make_split()
    kept, held = hold_out(split, fraction, seed=0, root=ROOT)
    label_of = dict(zip(split.paths, split.labels, strict=True))
    assert sorted(kept.paths + held.paths) == sorted(split.paths)
    for part in (kept, held):
        assert [label_of[path] for path in part.paths] == list(part.labels)
        # In the order of the original.
        assert [split.paths.index(path) for path in part.paths] == sorted(
            split.paths.index(path) for path in part.paths
        )
    counts = Counter(held.labels)
    for label, size in enumerate(SIZES):
        assert counts[label] == min(round(fraction * size), size - 1)
    assert set(kept.labels) == set(range(len(SIZES)))


def test_hold_out_does_not_depend_on_order_or_place() -> None:
    split = make_split()
    backwards = Split(paths=split.paths[::-1], labels=split.labels[::-1])
    elsewhere = Path("/mnt/copy")
    _, held = hold_out(split, 0.3, seed=3, root=ROOT)
    _, held_backwards = hold_out(backwards, 0.3, seed=3, root=ROOT)
    _, held_elsewhere = hold_out(make_split(elsewhere), 0.3, seed=3, root=elsewhere)
    assert held.paths == held_backwards.paths[::-1]
    assert [p.relative_to(ROOT) for p in held.paths] == [
        p.relative_to(elsewhere) for p in held_elsewhere.paths
    ]


def test_hold_out_depends_on_the_seed() -> None:
    chosen = [hold_out(make_split(), 0.3, seed=seed, root=ROOT)[1].paths for seed in range(3)]
    assert len(set(chosen)) == 3


def test_an_added_image_moves_few_others() -> None:
    split = make_split()
    more = Split(paths=(*split.paths, ROOT / "4/new.jpg"), labels=(*split.labels, 4))
    before = frozenset(hold_out(split, 0.3, seed=0, root=ROOT)[1].paths)
    after = frozenset(hold_out(more, 0.3, seed=0, root=ROOT)[1].paths)
    assert len(before ^ after) <= 2


def test_paths_outside_the_root() -> None:
    split = Split(paths=tuple(Path(f"/other/{i}.jpg") for i in range(10)), labels=(0,) * 10)
    assert len(hold_out(split, 0.5, seed=0, root=ROOT)[1]) == 5


@pytest.mark.parametrize("value", [-0.1, 1, 1.5, float("nan")])
def test_impossible_fractions(value: float) -> None:
    with pytest.raises(UserError, match=r"val_fraction is .*: expected a share"):
        Opening(val_fraction=value)

from collections import Counter
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.holdout import hold_out
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.reader import Opening
from arcvit.data.task import Split

ROOT = Path("/data/birds")
SIZES = (1, 2, 3, 10, 57)


def make_split(root: Path = ROOT) -> Split:
    pairs = [(root / f"{c}/{i}.jpg", c) for c, size in enumerate(SIZES) for i in range(size)]
    return Split.of(pairs)


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
    backwards = split.rows(range(len(split))[::-1])
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
    more = split + Split.of([(ROOT / "4/new.jpg", 4)])
    before = frozenset(hold_out(split, 0.3, seed=0, root=ROOT)[1].paths)
    after = frozenset(hold_out(more, 0.3, seed=0, root=ROOT)[1].paths)
    assert len(before ^ after) <= 2


def test_paths_outside_the_root() -> None:
    split = Split.of((Path(f"/other/{i}.jpg"), 0) for i in range(10))
    assert len(hold_out(split, 0.5, seed=0, root=ROOT)[1]) == 5


@pytest.mark.parametrize("value", [-0.1, 1, 1.5, float("nan")])
def test_impossible_fractions(value: float) -> None:
    with pytest.raises(UserError, match=r"val_fraction is .*: expected a share"):
        Opening(val_fraction=value)


def grouped(*sizes: tuple[int, ...]) -> tuple[Split, dict[Path, str]]:
    """For each class groups of these sizes."""
    pairs = [
        (ROOT / f"{label}/p{label}-{group}/{i}.jpg", label)
        for label, of_class in enumerate(sizes)
        for group, size in enumerate(of_class)
        for i in range(size)
    ]
    return Split.of(pairs), {path: path.parent.name for path, _ in pairs}


@pytest.mark.parametrize(
    ("sizes", "held"),
    [
        (((5,) * 10, (5,) * 10), (10, 10)),  # a fifth of 50 images is two groups
        (((1,) * 50, (3,) * 20), (10, 12)),
        (((10, 10, 10), (10, 10, 10)), (10, 10)),  # larger than a fifth, and better than none
        (((10, 10), (2,) * 10), (10, 4)),
        (((10,), (2,) * 10), (0, 4)),  # a class keeps its last group
    ],
)
def test_groups_are_held_out_as_a_whole(
    sizes: tuple[tuple[int, ...], ...], held: tuple[int, ...]
) -> None:
    split, groups = grouped(*sizes)
    kept, out = hold_out(split, 0.2, seed=0, root=ROOT, groups=groups)
    assert sorted(kept.paths + out.paths) == sorted(split.paths)
    assert not {groups[path] for path in kept.paths} & {groups[path] for path in out.paths}
    count = Counter(out.labels)
    assert tuple(count[label] for label in range(len(sizes))) == held


@pytest.mark.parametrize("how", ["column", "pattern"])
def test_a_patient_is_in_one_split(tmp_path: Path, how: str) -> None:
    lines = ["path,label,patient"]
    for patient in range(12):
        for photo in range(4):
            name = f"p{patient:02d}_{photo}.jpg"
            (tmp_path / name).touch()
            lines.append(f"{name},{'sick' if (patient + photo // 3) % 2 else 'well'},{patient}")
    (tmp_path / "scans.csv").write_text("\n".join(lines))
    opening = Opening(
        group_column="patient" if how == "column" else None,
        group_pattern=r"(p\d+)_" if how == "pattern" else None,
    )
    task = open_task(tmp_path / "scans.csv", opening)
    patients = [{path.name[:3] for path in split.paths} for split in task.splits.values()]
    assert len(patients) == 3
    assert sum(map(len, patients)) == len(set().union(*patients)) == 12
    assert set(task.groups) == {path for split in task.splits.values() for path in split.paths}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"group_pattern": r"photo(\d)"}, "isn't in 6 path"),
        ({"group_pattern": r"(cow\d)"}, "1 group.* in both train and test, .*: cow1"),
        ({"group_column": "animal"}, "has no columns, and so none called 'animal'"),
    ],
)
def test_wrong_groups(tmp_path: Path, settings: dict[str, str], sentence: str) -> None:
    for name in ("train/a/cow1_0", "train/b/cow2_0", "train/b/cow2_1", "train/a/cow1_1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.jpg").touch()
    for name in ("test/a/cow1_2", "test/b/cow3_0"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.jpg").touch()
    with pytest.raises(UserError, match=sentence):
        open_task(tmp_path, Opening(**settings))

"""So many images of every class, drawn by a seed."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.reader import Opening
from arcvit.data.readers.shots import draw_shots, told_shots
from arcvit.data.task import ImageTask, Split
from arcvit.recipe.parser import parse_recipe

ROOT = Path("photos")


def task(*counts: int) -> ImageTask:
    pairs = [(ROOT / f"{c}/{i}.png", c) for c, n in enumerate(counts) for i in range(n)]
    val = Split.of((ROOT / f"val/{c}.png", c) for c in range(len(counts)))
    return ImageTask(
        name="photos",
        root=ROOT,
        layout="folders",
        classes=tuple("abc"[: len(counts)]),
        splits={"train": Split.of(pairs), "val": val},
    )


def test_so_many_of_each_and_fewer_among_more() -> None:
    whole = task(9, 9, 2)
    few, more = (draw_shots(whole, shots, seed=3) for shots in (2, 4))
    assert Counter(few.split("train").labels) == {0: 2, 1: 2, 2: 2}
    assert Counter(more.split("train").labels) == {0: 4, 1: 4, 2: 2}
    assert set(few.split("train").paths) < set(more.split("train").paths)
    assert few.split("val") == whole.split("val")
    # Settings are chosen on the validation images: the last fit takes no more than the shots.
    assert few.trainval() == few.split("train")
    other = draw_shots(whole, 2, seed=4)
    assert set(other.split("train").paths) != set(few.split("train").paths)


def test_the_order_of_the_files_decides_nothing() -> None:
    whole = task(9, 9)
    turned = replace(whole, splits={"train": whole.split("train").rows(reversed(range(18)))})
    one, other = (draw_shots(t, 3, seed=0).split("train") for t in (whole, turned))
    assert set(one.paths) == set(other.paths)


def test_classes_with_fewer_are_told_in_a_line() -> None:
    drawn = draw_shots(task(9, 3, 1), 4, seed=0)
    assert told_shots(drawn, 4) == "--data.shots 4: 2 of 3 classes have fewer: 'b' (3), 'c' (1)"
    assert told_shots(draw_shots(task(9, 4), 4, seed=0), 4) is None


def test_several_labels_have_no_shots() -> None:
    several = Split.of_sets([(ROOT / "1.png", (0, 1))])
    with pytest.raises(UserError, match=r"data\.shots counts images of one class"):
        draw_shots(replace(task(2, 2), splits={"train": several}), 1, seed=0)


def test_what_is_only_measured_isnt_drawn_from(photos: Path) -> None:
    drawn = open_task(photos, Opening(shots=2, folds=2))
    assert [len(drawn.split(split)) for split in ("train", "val")] == [4, 4]
    assert len(open_task(photos, Opening(shots=2, to_measure=True)).split("train")) == 48


@pytest.mark.parametrize(
    ("flags", "seed"),
    [((), None), (("--data.shots=2",), 5), (("--data.shots=2", "--data.shots_seed=1"), 1)],
)
def test_the_runs_seed_draws(flags: tuple[str, ...], seed: int | None) -> None:
    recipe = parse_recipe(["--data.path=photos", "--seed=5", *flags])
    assert recipe.data.shots_seed == seed

from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.core.task import Kind
from arcvit.data.task import ImageTask, Split


def make_split(*names: str) -> Split:
    return Split.of((Path(name), label) for label, name in enumerate(names))


def make_task(**splits: Split) -> ImageTask:
    return ImageTask(name="t", root=Path(), layout="folders", classes=("a", "b"), splits=splits)


def test_split_counts_its_images() -> None:
    assert len(make_split("a", "b")) == 2


@pytest.mark.parametrize(
    ("label_sets", "kind", "told"),
    [
        ((), "single", "1 paths but 0 label sets"),
        (((),), "single", r"a has the labels \(\): expected exactly one"),
        (((0, 1),), "single", "expected exactly one"),
        (((1, 0),), "multilabel", "expected them in rising order"),
        (((1, 1),), "multilabel", "expected them in rising order"),
    ],
)
def test_split_refuses_labels_that_cannot_be(
    label_sets: tuple[tuple[int, ...], ...], kind: Kind, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        Split(paths=(Path("a"),), label_sets=label_sets, kind=kind)


def test_images_of_several_labels() -> None:
    split = Split.of_sets([(Path("a"), [1, 0, 1]), (Path("b"), []), (Path("c"), [1])])
    task = make_task(train=split, val=split.rows([1]))
    assert task.kind == "multilabel"
    assert [task.label_text(labels) for labels in split.label_sets] == ["a|b", "", "b"]
    assert task.trainval().label_sets == ((0, 1), (), (1,), ())
    assert task.every() == split
    assert split.rows([2]) == Split.of_sets([(Path("c"), [1])]) != Split.of([(Path("c"), 1)])
    for single in (lambda: split.labels, lambda: list(split)):
        with pytest.raises(UserError, match="works on images of one label each"):
            single()


TRAIN, VAL, BOTH, TEST = (make_split(name) for name in ("train", "val", "both", "test"))


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"train": TRAIN}, ["train"]),
        ({"train": TRAIN, "test": TEST}, ["train"]),
        ({"train": TRAIN, "val": VAL}, ["train", "val"]),
        ({"train": TRAIN, "val": VAL, "trainval": BOTH}, ["both"]),
    ],
)
def test_trainval(splits: dict[str, Split], expected: list[str]) -> None:
    joined = make_task(**splits).trainval()
    assert [path.name for path in joined.paths] == expected
    assert joined.labels == (0,) * len(expected)


def test_split_by_name() -> None:
    task = make_task(train=TRAIN, test=TEST)
    assert task.split("test") is TEST
    assert task.has("train") and not task.has("val")
    with pytest.raises(UserError, match="'t' has no split 'val': the splits are train, test"):
        task.split("val")

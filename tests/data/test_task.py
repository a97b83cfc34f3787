from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.task import ImageTask, Split


def make_split(*names: str) -> Split:
    return Split(paths=tuple(map(Path, names)), labels=tuple(range(len(names))))


def make_task(**splits: Split) -> ImageTask:
    return ImageTask(name="t", root=Path(), layout="folders", classes=("a", "b"), splits=splits)


def test_split_counts_its_images() -> None:
    assert len(make_split("a", "b")) == 2


def test_split_refuses_labels_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="1 paths but 0 labels"):
        Split(paths=(Path("a"),), labels=())


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

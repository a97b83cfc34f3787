"""What counts as a change of a task's images, and what is kept of their splits."""

from dataclasses import replace
from pathlib import Path

import pytest

from arcvit.data.contents import Contents, KnownImage, changes, contents_of
from arcvit.data.task import ImageTask, Split

ROWS = {"a": "red train 1", "b": "red val 2", "c": "blue train+trainval 3", "d": "blue train 3"}


def contents(rows: dict[str, str]) -> Contents:
    images = []
    for path, row in rows.items():
        label, splits, content = row.split()
        splits_in = tuple(splits.split("+"))
        images.append(KnownImage(path=path, label=label, splits=splits_in, content=content))
    return Contents(classes=("blue", "red"), images=tuple(images))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ""),
        ({"e": "red train 9"}, "1 added (e)"),
        ({"a": None, "b": None}, "2 removed (a, b)"),
        ({"a": "blue train 1"}, "1 relabelled (a: red -> blue)"),
        ({"a": "red train 8"}, "1 with other content (a)"),
        ({"a": "red val 1"}, "1 moved to another split (a: train -> val)"),
        ({"c": "blue train 3"}, "1 moved to another split (c: train+trainval -> train)"),
        ({"a": None, "z": "red train 1"}, "1 renamed (a -> z)"),
        ({"a": None, "z": "blue train 1"}, "1 relabelled (z: red -> blue)"),
        # The contents of two files have changed places: what is at each path has another label.
        (
            {"a": "red train 3", "d": "blue train 1"},
            "2 relabelled (a: blue -> red, d: red -> blue)",
        ),
        ({"a": "red train 2"}, "1 with other content (a)"),
        (
            {name: f"red train {name}" for name in "efghi"} | {"d": None},
            "5 added (e, f, g and 2 more), 1 removed (d)",
        ),
    ],
)
def test_changes(change: dict[str, str | None], told: str) -> None:
    now = {path: row for path, row in (ROWS | change).items() if row is not None}
    found = changes(contents(ROWS), contents(now))
    assert found.startswith(told)
    assert bool(found) == bool(told)
    same = contents(now).fingerprint == contents(ROWS).fingerprint
    assert same == (not told)
    assert Contents.from_dict(contents(now).to_dict()) == contents(now)


def test_old_images_stay_in_their_splits(tmp_path: Path) -> None:
    def task(classes: tuple[str, ...], **splits: list[tuple[str, int]]) -> ImageTask:
        found = {
            name: Split.of((tmp_path / path, label) for path, label in pairs)
            for name, pairs in splits.items()
        }
        return ImageTask(name="t", root=tmp_path, layout="table", classes=classes, splits=found)

    for name in "abcde":
        (tmp_path / name).write_text(name)
    before = task(("blue", "green", "red"), train=[("a", 0), ("b", 2)], val=[("c", 2), ("d", 1)])
    now = task(("blue", "red"), train=[("c", 1), ("b", 1)], val=[("a", 1), ("e", 0)])
    kept = contents_of(now).with_splits_of(contents_of(before)).divide(now)
    assert kept.classes == ("blue", "green", "red")
    assert {
        name: [(p.name, label) for p, label in split] for name, split in kept.splits.items()
    } == {
        "val": [("c", 2), ("e", 0)],
        "train": [("b", 2), ("a", 2)],
    }


def test_images_of_several_labels(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name)
    split = Split.of_sets(zip((tmp_path / n for n in "abc"), ([0, 1], [], [1]), strict=True))
    parts = {"train": split.rows([0, 1]), "test": split.rows([2])}
    task = ImageTask(name="t", root=tmp_path, layout="table", classes=("sea", "sky"), splits=parts)
    found = contents_of(task)
    assert [image.label for image in found.images] == ["sea|sky", "", "sky"]
    assert found.divide(task) == task
    emptied = replace(task, splits=parts | {"test": Split.of_sets([(tmp_path / "c", [])])})
    assert changes(found, contents_of(emptied)) == "1 relabelled (c: sky -> no label)"

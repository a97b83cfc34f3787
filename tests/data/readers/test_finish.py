from pathlib import Path
from typing import Any

import pytest

from arcvit.data.readers.finish import finish, missing_files, shared_images, untrained_classes
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.task import Split


def split(*names: str) -> Split:
    return Split.of((Path(name), 0) for name in names)


def end(splits: dict[str, Split], **settings: Any) -> Reading:
    root = Path("root")
    return finish(
        root, Opening(), layout="x", root=root, classes=("a", "b"), splits=splits, **settings
    )


def test_missing_files_are_all_counted_and_twenty_named(tmp_path: Path) -> None:
    (tmp_path / "there.jpg").touch()
    paths = [tmp_path / "there.jpg", *(tmp_path / f"gone{i:02d}.jpg" for i in range(23))]
    (finding,) = missing_files(paths, tmp_path / "list.txt")
    assert "list.txt lists 23 image(s)" in finding.text
    assert "gone19.jpg and 3 more." in finding.text
    assert "there.jpg" not in finding.text


def test_files_that_are_there_pass(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "sub" / ".." / "a.jpg"]
    assert not list(missing_files(paths, tmp_path))


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        ({"train": split("a"), "val": split("b"), "test": split("c")}, None),
        ({"train": split("a"), "trainval": split("a", "b"), "val": split("b")}, None),
        ({"train": split("a", "b"), "val": split("b")}, "both train and val, "),
        ({"train": split("a", "b"), "test": split("b")}, "both train and test, "),
        ({"val": split("a", "b"), "test": split("b")}, "both val and test, "),
        ({"trainval": split("a", "b"), "test": split("b")}, "both trainval and test, "),
    ],
)
def test_shared_images(splits: dict[str, Split], told: str | None) -> None:
    texts = [finding.text for finding in shared_images(splits, Path("root"))]
    assert len(texts) == (told is not None)
    assert all(f"root has 1 image(s) in {told}" in text and "them: b." in text for text in texts)


def test_classes_without_train_images() -> None:
    (finding,) = untrained_classes(("cat", "dog", "owl"), split("a"), Path("root"))
    assert "root has 2 class(es) with no image in train" in finding.text
    assert finding.text.endswith(": 'dog', 'owl'.")


def test_everything_is_told_and_the_lists_first(tmp_path: Path) -> None:
    splits = {"train": split("a", "b"), "test": split("b")}
    reading = end(splits, lists={"train": tmp_path / "train.txt"})
    kinds = [finding.kind for finding in reading.findings]
    assert kinds == ["missing-files", "overlap", "class-coverage"]


@pytest.mark.parametrize(
    ("holds_out", "there", "held_out", "absent"),
    [
        (("val",), {"train", "val"}, ("val",), ["val", "test"]),
        (("test", "val"), {"train", "val", "test"}, ("test", "val"), ["val", "test"]),
        ((), {"train"}, (), ["val", "test"]),
    ],
)
def test_what_is_held_out(
    holds_out: tuple[str, ...], there: set[str], held_out: tuple[str, ...], absent: list[str]
) -> None:
    reading = end({"train": split(*map(str, range(10)))}, holds_out=holds_out)
    assert set(reading.task.splits) == there
    assert (reading.held_out, list(reading.absent)) == (held_out, absent)

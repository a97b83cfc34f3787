import os
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.checks import (
    check_apart,
    check_classes,
    check_files_there,
    check_trained,
    list_some,
    read_text,
)
from arcvit.data.task import Split


@pytest.mark.parametrize(
    ("count", "expected"), [(0, ""), (2, "0, 1"), (3, "0, 1, 2"), (5, "0, 1, 2 and 2 more")]
)
def test_list_some(count: int, expected: str) -> None:
    assert list_some(range(count), most=3) == expected


def test_read_text_drops_the_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfhello")
    assert read_text(file) == "hello"


def test_read_text_refuses_other_encodings(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("Äpfel".encode("latin-1"))
    with pytest.raises(UserError, match=r"a\.txt isn't UTF-8"):
        read_text(file)


def test_missing_files_are_all_counted_and_twenty_named(tmp_path: Path) -> None:
    (tmp_path / "there.jpg").touch()
    paths = [tmp_path / "there.jpg", *(tmp_path / f"gone{i:02d}.jpg" for i in range(23))]
    with pytest.raises(UserError, match=r"list\.txt lists 23 ") as caught:
        check_files_there(paths, tmp_path / "list.txt")
    assert "gone19.jpg and 3 more." in str(caught.value)
    assert "there.jpg" not in str(caught.value)


def test_files_that_are_there_pass(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jpg").touch()
    os.symlink(tmp_path / "a.jpg", tmp_path / "b.jpg")
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "sub" / ".." / "a.jpg"]
    check_files_there(paths, tmp_path)


def split(*names: str) -> Split:
    return Split(paths=tuple(map(Path, names)), labels=(0,) * len(names))


@pytest.mark.parametrize(
    ("splits", "refused"),
    [
        ({"train": split("a"), "val": split("b"), "test": split("c")}, None),
        ({"train": split("a"), "trainval": split("a", "b"), "val": split("b")}, None),
        ({"train": split("a", "b"), "val": split("b")}, "both train and val"),
        ({"train": split("a", "b"), "test": split("b")}, "both train and test"),
        ({"val": split("a", "b"), "test": split("b")}, "both val and test"),
        ({"trainval": split("a", "b"), "test": split("b")}, "both trainval and test"),
    ],
)
def test_check_apart(splits: dict[str, Split], refused: str | None) -> None:
    if refused is None:
        check_apart(splits, Path("root"))
    else:
        with pytest.raises(UserError, match=f"root has 1 .* in {refused}, .*: b"):
            check_apart(splits, Path("root"))


@pytest.mark.parametrize(("classes", "found"), [((), "none"), (("cat",), "only 'cat'")])
def test_too_few_classes(classes: tuple[str, ...], found: str) -> None:
    with pytest.raises(UserError, match=f"at least 2, found {found}"):
        check_classes(classes, Path("root"))


def test_classes_without_train_images() -> None:
    with pytest.raises(UserError, match=r"root has 2 class\(es\).*: 'dog', 'owl'"):
        check_trained(("cat", "dog", "owl"), split("a"), Path("root"))

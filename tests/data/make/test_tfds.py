import json
import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcvit.core.errors import UserError
from arcvit.data.make.tfds import Part, find_copy, in_turns

COPIES = Path(__file__).parent / "tfds"


@pytest.mark.parametrize("inside", ["", "clevr", "clevr/3.1.0"])
def test_a_copy_is_found_wherever_it_lies_within(inside: str) -> None:
    copy = find_copy(COPIES / inside, "clevr")
    assert copy is not None
    assert (copy.name, copy.version, copy.root.name) == ("clevr", "3.1.0", "3.1.0")
    assert copy.lengths == {"train": [20, 20, 20], "validation": [3, 4, 3]}
    assert copy.count(Part("train", stop=90)) == 54
    assert copy.count(Part("test")) == 0
    assert copy.class_names("label") is None


def test_class_names() -> None:
    copy = find_copy(COPIES, "cifar100")
    assert copy is not None
    assert copy.class_names("label") == ("class 0", "class 1", "class 2", "class 3")


def test_a_folder_without_copies(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text('{"features": {}}')  # of Hugging Face's datasets
    assert find_copy(tmp_path, "clevr") is None
    assert find_copy(tmp_path / "not there", "clevr") is None


def info(folder: Path, **values: Any) -> None:
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"fileFormat": "tfrecord", **values}))


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no prepared copies of dtd, but .*clevr/3.1.0"):
        find_copy(COPIES, "dtd")
    shutil.copytree(COPIES / "clevr", tmp_path / "two/clevr")
    shutil.copytree(COPIES / "clevr/3.1.0", tmp_path / "two/clevr/3.0.0")
    with pytest.raises(UserError, match=r"2 prepared copies of clevr.*expected the folder of one"):
        find_copy(tmp_path / "two", "clevr")
    info(tmp_path / "arrays", name="dtd", fileFormat="array_record")
    with pytest.raises(UserError, match="array_record: expected tfrecord"):
        find_copy(tmp_path / "arrays", "dtd")


def test_configs(tmp_path: Path) -> None:
    info(tmp_path / "eurosat/rgb/2.0.0", name="eurosat", version="2.0.0")
    info(tmp_path / "eurosat/all/2.0.0", name="eurosat", version="2.0.0", configName="all")
    info(tmp_path / "moved", name="eurosat", version="2.0.0", configName="rgb")
    for folder, found in (("eurosat", "rgb/2.0.0"), ("moved", "moved")):
        copy = find_copy(tmp_path / folder, "eurosat", "rgb")
        assert copy is not None
        assert copy.root.as_posix().endswith(found)


@pytest.mark.parametrize(
    ("part", "count", "places"),
    [
        (Part("train"), 7, (0, 7)),
        (Part("train", stop=90), 3060, (0, 2754)),
        (Part("train", start=90), 3060, (2754, 3060)),
        (Part("train", start=60, stop=80), 27_000, (16_200, 21_600)),
        (Part("train", stop=90), 15, (0, 13)),  # 13.5
    ],
)
def test_parts(part: Part, count: int, places: tuple[int, int]) -> None:
    assert part.within(count) == range(*places)


def numbered(file: int, count: int) -> Iterator[Any]:
    return iter([(file, record) for record in range(count)])


def test_sixteen_records_of_a_file_then_the_next() -> None:
    order = list(in_turns([numbered(0, 40), numbered(1, 5), numbered(2, 20)]))
    blocks = [(0, 0, 16), (1, 0, 5), (2, 0, 16), (0, 16, 32), (2, 16, 20), (0, 32, 40)]
    assert order == [(file, n) for file, start, stop in blocks for n in range(start, stop)]


def test_a_file_more_than_take_turns() -> None:
    order = list(in_turns([numbered(file, 17) for file in range(17)]))
    first = [(file, n) for file in range(16) for n in range(16)]
    last = [(file, 16) for file in range(16)]
    assert order == first + last + [(16, n) for n in range(17)]


def test_files_that_are_not_shuffled_come_one_after_the_other(tmp_path: Path) -> None:
    info(tmp_path / "dtd", name="dtd", disableShuffling=True)
    copy = find_copy(tmp_path, "dtd")
    assert copy is not None
    order = list(in_turns([numbered(0, 40), numbered(1, 5)], copy.cycle))
    assert order == [*numbered(0, 40), *numbered(1, 5)]


@given(st.lists(st.integers(0, 60), max_size=40))
def test_every_record_comes_once(counts: list[int]) -> None:
    files = [list(numbered(file, count)) for file, count in enumerate(counts)]
    assert sorted(in_turns([iter(file) for file in files])) == list(chain.from_iterable(files))

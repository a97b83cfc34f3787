import struct
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.make.tfrecord import read_records

CLEVR = Path(__file__).parent / "tfds/clevr/3.1.0/clevr-train.tfrecord-00000-of-00003"


def record(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + b"sums" + content + b"sums"


# Example{features: {feature: {"a": int64_list: [5, -1]}}}, by hand.
_MINUS_ONE = b"\xff" * 9 + b"\x01"
_INTS = b"\x1a" + bytes([13]) + b"\x0a" + bytes([11]) + b"\x05" + _MINUS_ONE
_ENTRY = b"\x0a\x01a\x12" + bytes([len(_INTS)]) + _INTS
_FEATURES = b"\x0a" + bytes([len(_ENTRY)]) + _ENTRY
EXAMPLE = b"\x0a" + bytes([len(_FEATURES)]) + _FEATURES


def test_a_record_written_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "a.tfrecord"
    file.write_bytes(record(EXAMPLE) + record(b""))
    assert list(read_records(file, 0, 2)) == [{"a": (5, -1)}, {}]
    assert list(read_records(file, 1, 2)) == [{}]
    assert not list(read_records(file, 0, 0))


def test_records_that_tensorflow_wrote() -> None:
    records = list(read_records(CLEVR, 0, 20))
    assert len(records) == 20
    for found in records:
        assert set(found) == {"image", "objects/size", "objects/pixel_coords"}
        assert found["image"][0].startswith(b"\x89PNG")
        assert len(found["objects/pixel_coords"]) == 3 * len(found["objects/size"])
        assert all(6 <= place <= 13 for place in found["objects/pixel_coords"])


@pytest.mark.parametrize(
    ("content", "stop", "sentence"),
    [
        (record(EXAMPLE), 2, "ends within record 1, expected 2 records"),
        (record(EXAMPLE)[:-1], 1, "ends within record 0"),
        (record(EXAMPLE)[:5], 1, "ends within record 0"),
        (struct.pack("<Q", 2**60) + b"sums" * 9, 1, "ends within record 0"),
        (record(b"\xff\xff\xff"), 1, "is broken"),
        (b"", 1, "ends within record 0"),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, stop: int, sentence: str) -> None:
    file = tmp_path / "a.tfrecord"
    file.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        list(read_records(file, 0, stop))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="isn't there: prepare the data set again"):
        list(read_records(tmp_path / "a.tfrecord", 0, 1))

"""Files of TFRecords, each record a ``tf.train.Example``, read without TensorFlow.

A record is its length (8 bytes, little-endian), a checksum of that (4), the content, a checksum of
the content (4). Checksums are not compared: a broken image is found when it is decoded.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError

Record = Mapping[str, Sequence[Any]]
"""Feature names, those of nested features joined by ``/``, and their values, flat."""

_LENGTH, _CHECKSUM = 8, 4


def read_records(file: Path, start: int, stop: int) -> Iterator[Record]:
    """The records of a file from ``start`` to before ``stop``; those before are skipped unread.

    Raises:
        UserError: the file is missing, broken, or ends before.
    """
    try:
        for content in _contents(file, start, stop):
            yield _parse(content)
    except FileNotFoundError as error:
        raise UserError(f"{file} isn't there: prepare the data set again.") from error
    except (EOFError, LookupError, TypeError, ValueError, struct.error) as error:
        raise UserError(f"{file} is broken: {error}; prepare the data set again.") from error


def _contents(file: Path, start: int, stop: int) -> Iterator[bytes]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        for index in range(stop):
            head = stream.read(_LENGTH + _CHECKSUM)
            length = struct.unpack("<Q", head[:_LENGTH])[0] if len(head) > _LENGTH else size
            if stream.tell() + length + _CHECKSUM > size:
                raise EOFError(f"it ends within record {index}, expected {stop} records")
            if index >= start:
                yield stream.read(length)
                stream.seek(_CHECKSUM, 1)
            else:
                stream.seek(length + _CHECKSUM, 1)


def _parse(content: bytes) -> Record:
    """An Example (tensorflow/core/example/{example,feature}.proto).

    It is {1: {1: a feature}}, and a feature {1: its name, 2: {KIND: {1: its values}}}.
    """
    record = {}
    for _, features in _fields(content):
        for _, feature in _fields(features):
            held = dict(_fields(feature))
            record[held[1].decode()] = _values(held.get(2, b""))
    return record


def _values(feature: bytes) -> Sequence[Any]:
    for kind, listed in _fields(feature):
        values = [value for _, value in _fields(listed)]
        if kind == 1:
            return tuple(values)
        if kind == 2:
            packed = b"".join(values)
            return struct.unpack(f"<{len(packed) // 4}f", packed)
        numbers: list[int] = []
        for value in values:
            numbers += [value] if isinstance(value, int) else _varints(value)
        # Negative numbers are written as their two's complement of 64 bits.
        return tuple(number - 2**64 if number >= 2**63 else number for number in numbers)
    return ()


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The number and content of each field of a protobuf message: a whole number or bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        length, at = _varint(message, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
        if at + length > len(message):
            raise ValueError("a record ends within a field")
        yield number, message[at : at + length]
        at += length


def _varints(content: bytes) -> Iterator[int]:
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a place, seven bits a byte, and the place after it."""
    value = shift = 0
    while content[at] & 0x80:
        value |= (content[at] & 0x7F) << shift
        shift += 7
        at += 1
    return value | content[at] << shift, at + 1

"""Files of TFRecords, each record a ``tf.train.Example``, read without TensorFlow.

A record is its length (8 bytes, little-endian), a checksum of that (4), the content, a checksum of
the content (4). Checksums are not compared: a broken image is found when it is decoded.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from arcvit.core.errors import UserError

Record = Mapping[str, Sequence[Any]]
"""Feature names, those of nested features joined by ``/``, and their values, flat."""

_LENGTH, _CHECKSUM = 8, 4
# tensorflow/core/example/{example,feature}.proto; a map is written as repeated keys and values.
_PROTO = """
name: "example.proto"
package: "arcvit"
syntax: "proto3"
message_type {
  name: "Bytes"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES }
}
message_type {
  name: "Floats"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_FLOAT }
}
message_type {
  name: "Ints"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 }
}
message_type {
  name: "Feature"
  field { name: "bytes" number: 1 type_name: "Bytes" oneof_index: 0 }
  field { name: "floats" number: 2 type_name: "Floats" oneof_index: 0 }
  field { name: "ints" number: 3 type_name: "Ints" oneof_index: 0 }
  oneof_decl { name: "kind" }
}
message_type {
  name: "Entry"
  field { name: "key" number: 1 type: TYPE_STRING }
  field { name: "value" number: 2 type_name: "Feature" }
}
message_type {
  name: "Features"
  field { name: "feature" number: 1 label: LABEL_REPEATED type_name: "Entry" }
}
message_type {
  name: "Example"
  field { name: "features" number: 1 type_name: "Features" }
}
"""


def read_records(file: Path, start: int, stop: int) -> Iterator[Record]:
    """The records of a file from ``start`` to before ``stop``; those before are skipped unread.

    Raises:
        UserError: the file is missing, broken, or ends before.
    """
    example = _example()
    try:
        for content in _contents(file, start, stop):
            entries = example.FromString(content).features.feature
            yield {entry.key: _values(entry.value) for entry in entries}
    except FileNotFoundError as error:
        raise UserError(f"{file} isn't there: prepare the data set again.") from error
    except (EOFError, DecodeError) as error:
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


def _values(feature: Any) -> Sequence[Any]:
    kind = feature.WhichOneof("kind")
    return tuple(getattr(feature, kind).value) if kind else ()


@cache
def _example() -> Any:
    """The message class, in a pool of its own: TensorFlow may be there and have its own."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_PROTO, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("arcvit.Example"))

"""Containers are unpacked once, also by processes that begin together."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from arcvit.data.readers.reader import Opening
from arcvit.data.readers.unpack import Container, unpack


def test_one_unpacks_and_the_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    read: list[str] = []
    tasks = []

    def images(who: str) -> Iterator[tuple[bytes, tuple[int, ...]]]:
        read.append(who)
        if who == "first":
            second.start()
            second.join(0.2)  # it waits for this one to end
        yield from [(b"\xff\xd8\xff", (label,)) for label in (0, 1) for _ in range(3)]

    def begin(who: str) -> None:
        content = {"train": images(who)}
        container = Container(
            name="birds", layout="webdataset", key="1", classes=("a", "b"), splits=content
        )
        tasks.append(unpack(container, Opening()).task)

    second = threading.Thread(target=begin, args=("second",))
    begin("first")
    second.join()
    assert read == ["first"]
    assert tasks[0] == tasks[1]
    assert all(path.is_file() for split in tasks[0].splits.values() for path in split.paths)

import errno
import math
import os
import posix
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path, put_in_place, read_json, settle, write_json, write_text


@pytest.fixture(autouse=True)
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the disk, as other tests don't."""
    monkeypatch.setattr(os, "fsync", posix.fsync)
    monkeypatch.setattr(os, "sync", posix.sync)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path, content: str) -> None:
    folder.mkdir()
    (folder / "content").write_text(content)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    write_text(target, "old")
    write_text(target, "new")
    assert target.read_text() == "new"
    assert names(target.parent) == ["a.txt"]


def test_it_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, seen = tmp_path / "a.txt", []

    def fsync(descriptor: int) -> None:
        posix.fsync(descriptor)
        seen.append((os.fstat(descriptor).st_ino, target.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(target, "new")
    assert seen == [(target.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for content in ("old", "new"):
        with atomic_path(target) as partial:
            fill(partial, content)
    assert (target / "content").read_text() == "new"
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_error_leaves_the_old(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    write_text(target, "old") if kind == "file" else fill(target, "old")
    with pytest.raises(RuntimeError, match="broken"), atomic_path(target) as partial:
        partial.write_text("new") if kind == "file" else fill(partial, "new")
        raise RuntimeError("broken")
    kept = target if kind == "file" else target / "content"
    assert kept.read_text() == "old"
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize(
    ("place", "what"), [(".", "the folder you are in"), ("/dev", "where a disk is mounted")]
)
def test_what_nothing_can_replace_is_refused(place: str, what: str) -> None:
    with pytest.raises(UserError, match=f"is {what}: expected"), atomic_path(Path(place)):
        pass


def test_the_partial_file_keeps_its_ending(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.npy") as partial:
        assert partial.suffix == ".npy"
        partial.touch()


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
@pytest.mark.parametrize("kind", ["file", "folder", "text"])
def test_others_may_read_what_the_umask_says(tmp_path: Path, kind: str, umask: int) -> None:
    target = tmp_path / "target"
    before = os.umask(umask)
    try:
        if kind == "text":
            write_text(target, "a,b")
        else:
            with atomic_path(target) as partial:
                if kind == "folder":
                    partial.mkdir()
                save_file({"a": np.zeros(1)}, partial if kind == "file" else partial / "w")
    finally:
        os.umask(before)
    written = target / "w" if kind == "folder" else target
    assert written.stat().st_mode & 0o777 == 0o666 & ~umask
    assert names(tmp_path) == ["target"]


def test_settle_brings_back_what_was_moved_away(tmp_path: Path) -> None:
    fill(tmp_path / ".target.outdated-1", "old")
    fill(tmp_path / ".target.partial-1", "new")
    settle(tmp_path)
    assert names(tmp_path) == ["target"]
    assert (tmp_path / "target" / "content").read_text() == "old"


def test_settle_keeps_what_is_whole(tmp_path: Path) -> None:
    fill(tmp_path / "target", "new")
    fill(tmp_path / ".target.outdated-1", "old")
    (tmp_path / ".target.partial-2.txt").touch()
    (tmp_path / ".hidden").touch()
    settle(tmp_path)
    assert names(tmp_path) == [".hidden", "target"]
    assert (tmp_path / "target" / "content").read_text() == "new"


def test_put_in_place_moves_the_old_folder_away(tmp_path: Path) -> None:
    fill(tmp_path / "new", "new")
    fill(tmp_path / "target", "old")
    put_in_place(tmp_path / "new", tmp_path / "target")
    assert names(tmp_path) == ["target"]
    assert (tmp_path / "target" / "content").read_text() == "new"


def test_a_file_never_replaces_a_folder(tmp_path: Path) -> None:
    fill(tmp_path / "photos", "dear")
    with pytest.raises(IsADirectoryError, match="photos"):
        write_text(tmp_path / "photos", "a table")
    assert (tmp_path / "photos" / "content").read_text() == "dear"
    assert names(tmp_path) == ["photos"]


def test_json_goes_and_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": None})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": 1,\n  "a": null\n}\n'
    assert read_json(tmp_path / "a.json") == {"b": 1, "a": None}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_has_no_nan(tmp_path: Path, value: float) -> None:
    write_json(tmp_path / "a.json", {"a": [value, 1.0]})
    assert read_json(tmp_path / "a.json") == {"a": [None, 1.0]}


def write_plain(file: Path) -> None:
    file.write_bytes(bytes(40_000))


def write_safetensors(file: Path) -> None:
    save_file({"a": np.zeros(10_000, dtype=np.float32)}, file)


def write_torch(file: Path) -> None:
    torch.save(torch.zeros(10_000), file)


@pytest.mark.parametrize("write", [write_plain, write_safetensors, write_torch])
def test_a_disk_that_takes_no_more(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write_text(tmp_path / "target", "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(OSError) as caught, atomic_path(tmp_path / "target") as partial:
            write(partial)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert names(tmp_path) == ["target"]
    assert (tmp_path / "target").read_text() == "old"


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', "[1]", "null", "\x00"])
def test_damaged_json_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(UserError, match=r"a\.json is damaged: expected"):
        read_json(file)

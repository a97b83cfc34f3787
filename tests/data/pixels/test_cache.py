import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path
from arcvit.data.pixels import cache
from arcvit.data.pixels.cache import cached_images
from arcvit.data.pixels.kept import ABOUT_FILE, kept_in
from arcvit.data.pixels.preset import Preprocessing

PREP = Preprocessing(
    size=(4, 4),
    resize="shortest",
    resize_size=6,
    interpolation="bicubic",
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)


class Decoder:
    """Fills with 7, says that row 1 was bad, and counts how often it was needed."""

    calls = 0

    def __call__(self, images: Tensor) -> dict[int, str]:
        self.calls += 1
        images.fill_(7)
        return {1: "broken"}


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{i}.jpg" for i in range(3)]
    for file in files:
        file.write_bytes(b"x")
    return files


def test_decoded_once_then_read_back(tmp_path: Path, paths: list[Path]) -> None:
    decode, folder = Decoder(), tmp_path / "new" / "cache"
    for _ in range(2):
        images, bad = cached_images(folder, paths, PREP, decode)
        assert torch.equal(images, torch.full((3, 3, 4, 4), 7, dtype=torch.uint8))
        assert bad == {1: "broken"}
    assert decode.calls == 1
    assert len(list(folder.iterdir())) == 1


def test_an_entry_tells_what_it_is_of_and_when_it_was_used(
    tmp_path: Path, paths: list[Path]
) -> None:
    folder = tmp_path / "cache"
    decode = Decoder()

    def look(images: Tensor) -> dict[int, str]:
        assert kept_in(folder) == []  # what is being written can't be removed
        return decode(images)

    cached_images(folder, paths, PREP, look)
    (entry,) = kept_in(folder)
    assert (entry.source, entry.images) == (str(tmp_path), 3)
    assert entry.size > 3 * 3 * 4 * 4
    os.utime(entry.folder / ABOUT_FILE, (1, 1))
    cached_images(folder, paths, PREP, Decoder())
    assert kept_in(folder)[0].used > 1


def change(prep: Preprocessing, **changes: object) -> Preprocessing:
    return Preprocessing.from_dict({**prep.to_dict(), **changes})


def touched(paths: list[Path]) -> tuple[list[Path], Preprocessing]:
    os.utime(paths[0], (1, 1))
    return paths, PREP


def longer(paths: list[Path]) -> tuple[list[Path], Preprocessing]:
    paths[0].write_bytes(b"xy")
    return paths, PREP


def gone(paths: list[Path]) -> tuple[list[Path], Preprocessing]:
    paths[0].unlink()
    return paths, PREP


CHANGES: dict[str, Callable[[list[Path]], tuple[list[Path], Preprocessing]]] = {
    "order": lambda paths: (paths[::-1], PREP),
    "fewer": lambda paths: (paths[:2], PREP),
    "time": touched,
    "length": longer,
    "gone": gone,
    "size": lambda paths: (paths, change(PREP, size=[5, 5])),
    "resize": lambda paths: (paths, change(PREP, resize="squash-crop")),
    "resize_size": lambda paths: (paths, change(PREP, resize_size=7)),
    "interpolation": lambda paths: (paths, change(PREP, interpolation="nearest")),
    "orientation": lambda paths: (paths, change(PREP, orientation="upright")),
    "grey_max": lambda paths: (paths, change(PREP, grey_max=4095)),
    "max_pixels": lambda paths: (paths, change(PREP, max_pixels=10)),
    "random_crop": lambda paths: (paths, change(PREP, random_crop=True)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_changes_pixels_decodes_again(
    tmp_path: Path, paths: list[Path], name: str
) -> None:
    decode = Decoder()
    cached_images(tmp_path / "cache", paths, PREP, decode)
    cached_images(tmp_path / "cache", *CHANGES[name](paths), decode)
    assert decode.calls == 2


@pytest.mark.parametrize("changes", [{"mean": [1, 1, 1]}, {"std": [2, 2, 2]}, {"flip": True}])
def test_what_acts_later_shares_the_entry(
    tmp_path: Path, paths: list[Path], changes: dict[str, object]
) -> None:
    decode = Decoder()
    cached_images(tmp_path / "cache", paths, PREP, decode)
    cached_images(tmp_path / "cache", paths, change(PREP, **changes), decode)
    assert decode.calls == 1


@pytest.mark.parametrize("file", ["images.npy", "unreadable.json"])
@pytest.mark.parametrize("damage", [None, b"", b"garbage"])
def test_a_damaged_entry_is_made_again(
    tmp_path: Path, paths: list[Path], file: str, damage: bytes | None
) -> None:
    decode = Decoder()
    cached_images(tmp_path / "cache", paths, PREP, decode)
    (entry,) = (tmp_path / "cache").iterdir()
    (entry / file).unlink()
    if damage is not None:
        (entry / file).write_bytes(damage)
    images, bad = cached_images(tmp_path / "cache", paths, PREP, decode)
    assert (int(images.min()), bad, decode.calls) == (7, {1: "broken"}, 2)


def test_an_error_leaves_nothing_behind(tmp_path: Path, paths: list[Path]) -> None:
    def fail(images: Tensor) -> dict[int, str]:
        raise UserError("stop")

    with pytest.raises(UserError, match="stop"):
        cached_images(tmp_path / "cache", paths, PREP, fail)
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_entry_made_meanwhile_is_taken(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def beaten(entry: Path) -> Iterator[Path]:
        with atomic_path(entry) as partial:
            yield partial
        raise OSError("Directory not empty")

    monkeypatch.setattr(cache, "atomic_path", beaten)
    _, bad = cached_images(tmp_path / "cache", paths, PREP, Decoder())
    assert bad == {1: "broken"}


def test_a_full_disk_is_an_error(
    tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=143))
    with pytest.raises(UserError, match=r"cache has 0\.0 GiB free"):
        cached_images(tmp_path / "cache", paths, PREP, Decoder())
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=144))
    cached_images(tmp_path / "cache", paths, PREP, Decoder())


def test_a_cache_may_be_larger_than_memory(tmp_path: Path, paths: list[Path]) -> None:
    entry = tmp_path / "entry"
    entry.mkdir()
    shape = (2**40, 1)  # a sparse file
    np.lib.format.open_memmap(entry / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    (entry / "unreadable.json").write_text("[]")
    found = cache._open(entry, shape)
    assert found is not None
    assert int(found[0][-1]) == 0


def test_one_process_decodes_and_the_others_wait(tmp_path: Path, paths: list[Path]) -> None:
    folder, decode = tmp_path / "cache", Decoder()
    beside = Decoder()
    waiting = threading.Thread(target=cached_images, args=(folder, paths, PREP, beside))

    def slowly(images: Tensor) -> dict[int, str]:
        waiting.start()
        time.sleep(0.2)
        return decode(images)

    cached_images(folder, paths, PREP, slowly)
    waiting.join()
    assert (decode.calls, beside.calls) == (1, 0)
    assert len(list(folder.iterdir())) == 1


def test_what_a_killed_process_left_is_removed(tmp_path: Path, paths: list[Path]) -> None:
    folder = tmp_path / "cache"
    cached_images(folder, paths, PREP, Decoder())
    (entry,) = folder.iterdir()
    shutil.rmtree(entry)
    (folder / f".{entry.name}.partial-1").mkdir()
    cached_images(folder, paths, PREP, Decoder())
    assert list(folder.iterdir()) == [entry]

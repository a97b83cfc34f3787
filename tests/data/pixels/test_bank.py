from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from arcvit.core.errors import UserError
from arcvit.data.pixels.bank import ImageBank
from arcvit.data.pixels.decode import UnreadableImages, to_array
from arcvit.data.pixels.preset import Preprocessing
from arcvit.data.pixels.rgb import read_rgb
from arcvit.data.task import Split

Paint = Callable[..., Path]

PREP = Preprocessing(
    size=(8, 8),
    resize="squash",
    resize_size=8,
    interpolation="bicubic",
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)
BYTES = 6 * 3 * 8 * 8


@pytest.fixture
def split(paint: Paint) -> Split:
    paths = tuple(paint(f"{i}.png", size=(10, 12), seed=i) for i in range(6))
    return Split.of(zip(paths, (3, 1, 4, 1, 5, 9), strict=True))


@pytest.fixture(params=[BYTES, BYTES - 1], ids=["memory", "disk"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return {"memory_limit": request.param, "cache_dir": tmp_path / "cache", "workers": 2}


def test_a_bank_holds_the_split(split: Split, settings: dict[str, Any], tmp_path: Path) -> None:
    bank = ImageBank.build(split, PREP, **settings)
    expected = torch.stack([to_array(read_rgb(path), PREP) for path in split.paths])
    assert torch.equal(bank.images, expected)
    assert (bank.images.dtype, bank.labels.dtype) == (torch.uint8, torch.int64)
    assert bank.labels.tolist() == [3, 1, 4, 1, 5, 9]
    assert (bank.paths, bank.skipped, len(bank)) == (split.paths, (), 6)
    assert (tmp_path / "cache").exists() == (settings["memory_limit"] == BYTES - 1)


def test_batches_are_gathered(split: Split, settings: dict[str, Any]) -> None:
    bank = ImageBank.build(split, PREP, **settings)
    image, label = bank[2]
    assert torch.equal(image, bank.images[2]) and label == 4
    images, labels = bank.__getitems__([5, 0, 5])
    assert torch.equal(images, bank.images[[5, 0, 5]])
    assert labels.tolist() == [9, 3, 9]


def test_with_a_data_loader(split: Split, settings: dict[str, Any]) -> None:
    bank = ImageBank.build(split, PREP, **settings)
    loader = DataLoader(
        bank,
        batch_size=4,
        shuffle=True,
        generator=torch.Generator().manual_seed(0),
        collate_fn=lambda batch: batch,
    )
    batches = list(loader)
    assert [images.shape for images, _ in batches] == [(4, 3, 8, 8), (2, 3, 8, 8)]
    seen = torch.cat([labels for _, labels in batches])
    assert sorted(seen.tolist()) == [1, 1, 3, 4, 5, 9]


def test_the_file_is_used_again(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ImageBank.build(split, PREP, memory_limit=0, cache_dir=tmp_path / "cache")
    monkeypatch.delattr("arcvit.data.pixels.bank.decode_into")
    again = ImageBank.build(split, PREP, memory_limit=0, cache_dir=tmp_path / "cache")
    assert torch.equal(first.images, again.images)


def test_bad_files_are_an_error(split: Split, settings: dict[str, Any], tmp_path: Path) -> None:
    for row in (1, 4):
        split.paths[row].write_bytes(b"")
    with pytest.raises(UnreadableImages) as caught:
        ImageBank.build(split, PREP, **settings)
    assert caught.value.paths == (split.paths[1], split.paths[4])
    assert not list((tmp_path / "cache").glob("*"))


def test_bad_files_are_skipped(split: Split, settings: dict[str, Any]) -> None:
    expected = ImageBank.build(split, PREP).images
    for row in (0, 3):
        split.paths[row].write_bytes(b"")
    for _ in range(2):
        bank = ImageBank.build(split, PREP, on_bad="skip", **settings)
        assert bank.labels.tolist() == [1, 4, 5, 9]
        assert torch.equal(bank.images, expected[[1, 2, 4, 5]])
        assert bank.paths == tuple(split.paths[row] for row in (1, 2, 4, 5))
        assert bank.skipped == tuple((split.paths[row], "empty file") for row in (0, 3))
        assert len(bank) == 4
    # What was skipped is still an error for who asks for it, from the cache as well.
    with pytest.raises(UnreadableImages):
        ImageBank.build(split, PREP, **settings)


def test_nothing_readable_is_an_error(split: Split, settings: dict[str, Any]) -> None:
    for path in split.paths:
        path.unlink()
    with pytest.raises(UnreadableImages, match="6 image"):
        ImageBank.build(split, PREP, on_bad="skip", **settings)


def test_above_the_limit_without_a_cache_folder(split: Split) -> None:
    with pytest.raises(UserError, match=r"6 images of 8x8 pixels need .*: give a cache folder"):
        ImageBank.build(split, PREP, memory_limit=BYTES - 1)


def test_an_empty_split() -> None:
    bank = ImageBank.build(Split.of([]), PREP)
    assert (len(bank), bank.images.shape, bank.labels.shape) == (0, (0, 3, 8, 8), (0,))


def test_parts_must_match() -> None:
    with pytest.raises(ValueError, match="2 images, 1 labels, 1 paths"):
        ImageBank(torch.zeros(2, 3, 8, 8), torch.zeros(1), (Path("a"),))


def test_what_processes_share_is_mapped(split: Split, tmp_path: Path) -> None:
    for name, shared in (("own", False), ("all", True)):
        bank = ImageBank.build(split, PREP, shared=shared, cache_dir=tmp_path / name)
        assert (len(bank), (tmp_path / name).exists()) == (len(split), shared)

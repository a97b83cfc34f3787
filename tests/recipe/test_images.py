from collections.abc import Callable
from pathlib import Path

import pytest

from arcvit.data.config import DataConfig
from arcvit.data.pixels.decode import UnreadableImages
from arcvit.data.pixels.preset import Preprocessing
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.reader import Opening
from arcvit.recipe.images import decode_run

PREP = Preprocessing(
    size=(16, 16),
    resize="squash",
    resize_size=16,
    interpolation="bicubic",
    mean=(0.5,) * 3,
    std=(0.5,) * 3,
)
PHOTO = 3 * 16 * 16


def config(photos: Path, **more: object) -> DataConfig:
    return DataConfig(path=str(photos), **more)  # type: ignore[arg-type]


def test_the_splits_of_a_run(photos: Path) -> None:
    images = decode_run(open_task(photos), PREP, PREP, config(photos))
    assert images.val is not None
    assert images.test is not None
    assert (len(images.train), len(images.val), len(images.test)) == (48, 24, 32)
    assert images.skipped == 0


def test_what_is_fitted_is_not_validated(photos: Path) -> None:
    images = decode_run(open_task(photos), PREP, PREP, config(photos, fit_on="trainval"))
    assert len(images.train) == 72
    assert images.val is None


@pytest.mark.parametrize(
    ("room", "on_disk"),
    [(200, 0), (48 + 24 + 32, 0), (48 + 24, 1), (48 + 23, 2), (47, 2), (1, 3)],
)
def test_the_limit_holds_for_all_splits_together(
    photos: Path, tmp_path: Path, room: int, on_disk: int
) -> None:
    cache = tmp_path / "cache"
    limited = config(photos, memory_gb=(room * PHOTO + 1) / 1e9, cache_dir=str(cache))
    decode_run(open_task(photos), PREP, PREP, limited)
    assert (len(list(cache.iterdir())) if cache.exists() else 0) == on_disk


def test_unreadable_images_of_all_splits(
    paint_classes: Callable[..., Path], tmp_path: Path
) -> None:
    for split in ("train", "test"):
        paint_classes(tmp_path / split, 3)
        (tmp_path / split / "red" / "red_01.png").write_text("no image")
    with pytest.raises(UnreadableImages) as caught:
        decode_run(open_task(tmp_path, Opening(val_fraction=0)), PREP, PREP, config(tmp_path))
    assert [path.parts[-3] for path in caught.value.paths] == ["train", "test"]
    skipping = config(tmp_path, on_bad="skip")
    images = decode_run(open_task(tmp_path, Opening(val_fraction=0)), PREP, PREP, skipping)
    assert images.skipped == 2
    for photo in (tmp_path / "test").rglob("*.png"):
        photo.write_text("no image")
    with pytest.raises(UnreadableImages, match=r"none of 12 image.* can be read, give"):
        decode_run(open_task(tmp_path, Opening(val_fraction=0)), PREP, PREP, skipping)

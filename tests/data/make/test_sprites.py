import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcvit.core.errors import UserError
from arcvit.data.make.sprites import (
    ORIENTATIONS,
    POSITIONS,
    SCALES,
    SHAPES,
    SIZE,
    TASKS,
    Latents,
    draw,
    draw_split_places,
    make_sprites,
)
from arcvit.data.readers.layouts import open_task


def latents(**changes: int) -> Latents:
    return Latents(**{"shape": 2, "scale": 5, "orientation": 0, "x": 9, "y": 20, **changes})


def test_the_grid_is_that_of_dsprites() -> None:
    assert (len(SHAPES), len(SCALES), len(ORIENTATIONS), POSITIONS) == (3, 6, 40, 32)
    assert SIZE == 737_280
    assert SCALES[0] == 0.5
    assert ORIENTATIONS[-1] == pytest.approx(2 * np.pi)
    assert Latents.at(0) == Latents(shape=0, scale=0, orientation=0, x=0, y=0)
    assert Latents.at(33) == Latents(shape=0, scale=0, orientation=0, x=1, y=1)
    assert Latents.at(SIZE - 1) == Latents(shape=2, scale=5, orientation=39, x=31, y=31)


def test_no_sprite_is_cut_off() -> None:
    for shape, scale, orientation in itertools.product(range(3), range(6), range(40)):
        whole = draw(latents(shape=shape, scale=scale, orientation=orientation, x=15, y=15)).sum()
        for corner in (0, 31):
            place = latents(shape=shape, scale=scale, orientation=orientation, x=corner, y=corner)
            assert draw(place).sum() == whole > 0


def test_positions_are_a_pixel_apart() -> None:
    here = draw(latents())
    assert here.shape == (64, 64)
    assert here.dtype == bool
    assert np.array_equal(draw(latents(x=10)), np.roll(here, 1, axis=1))
    assert np.array_equal(draw(latents(y=21)), np.roll(here, 1, axis=0))


def test_shapes_turn_and_grow() -> None:
    assert np.array_equal(draw(latents(orientation=39)), draw(latents(orientation=0)))
    different = {draw(latents(orientation=i)).tobytes() for i in range(39)}
    assert len(different) == 39
    areas = [int(draw(latents(scale=scale)).sum()) for scale in range(6)]
    assert areas == sorted(areas)
    assert areas[0] == pytest.approx(areas[5] / 4, rel=0.1)
    # The heart's point is down.
    rows = draw(latents(x=15, y=15)).sum(axis=1).nonzero()[0]
    assert draw(latents(x=15, y=15))[rows[-1]].sum() < draw(latents(x=15, y=15))[rows[0]].sum()


def test_splits_are_apart_and_reproducible() -> None:
    places = draw_split_places(test_size=300, seed=0)
    assert {split: len(drawn) for split, drawn in places.items()} == {
        "train": 800,
        "val": 200,
        "test": 300,
    }
    pixels = [draw(place).tobytes() for drawn in places.values() for place in drawn]
    assert len(set(pixels)) == 1300
    more = draw_split_places(test_size=400, seed=0)
    assert more["train"] == places["train"]
    assert more["test"][:300] == places["test"]
    assert draw_split_places(test_size=300, seed=1)["train"] != places["train"]
    for attribute, names in TASKS.values():
        labels = {getattr(place, attribute) for place in places["train"]}
        assert labels == set(range(16)) == set(range(len(names)))


@pytest.mark.slow
def test_what_is_written(tmp_path: Path) -> None:
    written = make_sprites(tmp_path, test_size=20, seed=3)
    places = draw_split_places(test_size=20, seed=3)
    counts = {"train": 800, "val": 200, "trainval": 1000, "test": 20}
    for name, (attribute, names) in TASKS.items():
        assert {split: written[name][split] for split in counts} == counts
        task = open_task(tmp_path / name)
        assert task.classes == names
        for split in ("train", "val", "test"):
            expected = tuple(getattr(place, attribute) for place in places[split])
            assert task.split(split).labels == expected
        assert (
            task.split("trainval").labels == task.split("train").labels + task.split("val").labels
        )
        pixels = np.asarray(Image.open(task.split("test").paths[7]))
        assert pixels.shape == (64, 64, 3)
        assert np.array_equal(pixels, np.repeat(draw(places["test"][7])[..., None], 3, -1) * 255)
        assert "not the images of dSprites" in (tmp_path / name / "README.md").read_text()


def test_the_first_images_stay_what_they_are() -> None:
    """A change in the drawing or in the draw would make results incomparable without a word."""
    places = draw_split_places(test_size=1, seed=0)
    pixels = b"".join(np.packbits(draw(place)).tobytes() for place in places["train"])
    assert hashlib.sha256(pixels).hexdigest()[:16] == "307d2e67ada04bee"
    assert [place.location_label for place in places["val"][:5]] == [10, 0, 4, 13, 15]


@pytest.mark.parametrize("size", [0, -1, 400_000])
def test_impossible_test_sizes(tmp_path: Path, size: int) -> None:
    with pytest.raises(UserError, match=f"the test size is {size}: expected a number from 1 to"):
        make_sprites(tmp_path, test_size=size, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "sprites_ori").mkdir()
    with pytest.raises(UserError, match="sprites_ori is there already"):
        make_sprites(tmp_path, test_size=5, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["sprites_ori"]

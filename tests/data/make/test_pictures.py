"""Made pictures: the same every time, no two alike, and what they are said to be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arcvit.cli.data_make import TASKS
from arcvit.core.errors import UserError
from arcvit.data.make import counts, directions, letters
from arcvit.data.make.canvas import SIDE, Draws
from arcvit.data.make.pictures import PICTURE_TASKS, drawn, make_pictures
from arcvit.data.readers.layouts import open_task


def pixels(name: str, split: str, count: int, *, seed: int = 0) -> list[np.ndarray]:
    return [np.asarray(image) for image, _ in drawn(name, split, count, seed=seed)]


@pytest.mark.parametrize("name", PICTURE_TASKS)
def test_images_follow_from_the_seed_and_differ(name: str) -> None:
    one, two = pixels(name, "train", 6), pixels(name, "train", 8)
    assert all(np.array_equal(a, b) for a, b in zip(one, two[:6], strict=True))
    every = two + pixels(name, "test", 8) + pixels(name, "val", 8) + pixels(name, "val", 8, seed=1)
    assert {image.shape for image in every} == {(SIDE, SIDE, 3)}
    assert len({image.tobytes() for image in every}) == 32
    assert min(image.std() for image in every) > 5


def test_as_many_things_as_the_label_says() -> None:
    for seed in range(20):
        places = counts.places(8, Draws(seed))
        assert len(places) == 8
        for x, y, size in places:
            assert size < min(x, y) and max(x, y) + size < SIDE


def test_the_narrow_end_points_in_the_direction() -> None:
    for seed in range(50):
        outline = directions._outline(Draws(seed))
        first, last = outline[0], outline[len(outline) // 2 - 1]
        assert first[0] > last[0]
        assert abs(first[1]) < abs(last[1])


def test_no_font_is_in_two_splits() -> None:
    families = [
        {name.partition("-")[0].removesuffix("Bol") for name in fonts}
        for fonts in letters.FONTS.values()
    ]
    assert not families[0] & families[1] and not families[2] & (families[0] | families[1])
    # Not a box that stands for a missing letter.
    for fonts in letters.FONTS.values():
        for name in fonts:
            found = {tuple(letters._font(name, 20).getmask(x)) for x in letters.CLASSES}
            assert len(found) == 26, name


@pytest.mark.slow
def test_the_command_writes_a_task(arcvit: Callable[..., object], tmp_path: Path) -> None:
    answer = arcvit("data", "make", "counts", "--out", tmp_path, "--test_size", 16)
    assert (answer.code, "800 train, 200 val, 16 test" in answer.out) == (0, True)
    task = open_task(tmp_path / "counts")
    assert task.classes == counts.CLASSES
    assert [len(task.split(s)) for s in ("train", "val", "trainval", "test")] == [
        800,
        200,
        1000,
        16,
    ]
    assert "is there already" in arcvit("data", "make", "counts", "--out", tmp_path).err


def test_what_is_refused(tmp_path: Path) -> None:
    assert tuple(PICTURE_TASKS) == TASKS
    for wrong in ({"test_size": 0, "seed": 0}, {"test_size": 1, "seed": -1}):
        with pytest.raises(UserError, match="expected a number from"):
            make_pictures("counts", tmp_path, **wrong)
    assert not list(tmp_path.iterdir())

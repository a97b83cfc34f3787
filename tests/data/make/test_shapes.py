"""Pictures of several shapes: a made multilabel task."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arcvit.core.errors import UserError
from arcvit.data.make import pictures
from arcvit.data.make.canvas import SIDE, Draws
from arcvit.data.make.shapes import CLASSES, draw, make_shapes
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.reader import Opening
from arcvit.data.task import ImageTask


def test_pictures_hold_what_their_labels_say() -> None:
    found = [draw(Draws([0, index])) for index in range(60)]
    again, labels = draw(Draws([0, 7]))
    assert np.array_equal(again, found[7][0]) and labels == found[7][1]
    assert {image.size for image, _ in found} == {(SIDE, SIDE)}
    counts = Counter(CLASSES[label] for _, labels in found for label in labels)
    assert set(counts) == set(CLASSES)
    assert counts["disc"] > counts["cross"] > counts["frame"]
    per_picture = Counter(len(labels) for _, labels in found)
    assert 0 < per_picture[0] < 30 and max(per_picture) <= 6


def test_both_forms_of_the_table_are_the_same_task(
    arcvit: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "SPLIT_SIZES", {"train": 10, "val": 4})

    def made(*flags: str) -> ImageTask:
        out = tmp_path / f"out{len(flags)}"
        answer = arcvit("data", "make", "shapes", "--out", out, "--test_size", 2, *flags)
        assert (answer.code, "10 train, 4 val, 2 test" in answer.out) == (0, True)
        return open_task(out / "shapes/shapes.csv", Opening(kind="multilabel"))

    names, flags = made(), made("--label_columns")
    assert names.classes == flags.classes == CLASSES
    images = {path.read_bytes() for path in names.every().paths}
    assert len(images) == 16  # none is in two splits
    for split in ("train", "val", "test"):
        one, other = names.split(split), flags.split(split)
        assert one.label_sets == other.label_sets
        assert [p.read_bytes() for p in one.paths] == [p.read_bytes() for p in other.paths]
    with pytest.raises(UserError, match=r"open one of .*shapes.csv"):
        open_task(tmp_path / "out0/shapes")
    for wrong, sentence in (
        (("counts", "--label_columns"), "--label_columns is for shapes"),
        (("shapes",), "is there already"),
    ):
        assert sentence in arcvit("data", "make", *wrong, "--out", tmp_path / "out0").err


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the test size is 0"):
        make_shapes(tmp_path, test_size=0, seed=0)
    assert not list(tmp_path.iterdir())

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcvit.core.errors import UserError
from arcvit.data.catalogue import find_task
from arcvit.data.check.report import check_task
from arcvit.data.make import vtab
from arcvit.data.readers.layouts import open_task

Paint = Callable[..., Path]


@pytest.fixture
def source(paint_classes: Paint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four classes of photos that stand for dtd: 12 + 6 training images, 8 test images each."""
    for seed, (split, count) in enumerate({"train": 12, "val": 6, "test": 8}.items()):
        paint_classes(tmp_path / "source" / split, count, seed=seed)
    small = replace(find_task("dtd"), classes=4, train=20, val=10, test=32)
    monkeypatch.setattr(vtab, "find_task", lambda name, suite: small)
    return tmp_path / "source"


def prepare(source: Path, out: str = "out", *, seed: int = 0) -> dict[str, int]:
    written = vtab.prepare_vtab("dtd", str(source), source.with_name(out), seed=seed)
    assert not written.own_draw
    return written.counts


def test_what_is_prepared_is_lossless_and_sound(source: Path, tmp_path: Path) -> None:
    counts = prepare(source)
    assert counts == {"train": 20, "val": 10, "test": 32, "trainval": 30}
    task = open_task(tmp_path / "out/dtd")
    assert task.classes == ("blue", "green", "red", "white")
    for row, path in enumerate(sorted((source / "test").rglob("*.png"))):
        copy = task.split("test").paths[row]
        assert np.array_equal(np.asarray(Image.open(copy)), np.asarray(Image.open(path)))
    own = {path.read_bytes() for path in (source / "val").rglob("*.png")}
    assert {path.read_bytes() for path in task.split("val").paths} <= own
    assert "not VTAB's own draw" in (tmp_path / "out/dtd/README.md").read_text()
    report = check_task(tmp_path / "out/dtd", benchmark=vtab.find_task("dtd", suite="vtab"))
    assert not report.spoilt


def test_the_seed_decides_the_draw(source: Path, tmp_path: Path) -> None:
    drawn = []
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepare(source, out, seed=seed)
        paths = open_task(tmp_path / out / "dtd").split("train").paths
        drawn.append([path.read_bytes() for path in paths])
    assert drawn[0] == drawn[1] != drawn[2]


def test_wrong_sources(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    next((source / "test/red").iterdir()).unlink()
    with pytest.raises(UserError, match="4 classes and 32 test images, it has 4 and 31"):
        prepare(source)
    small = replace(find_task("dtd"), classes=4, train=900, test=31)
    monkeypatch.setattr(vtab, "find_task", lambda name, suite: small)
    with pytest.raises(UserError, match="has 48 images to draw from: expected at least 900"):
        prepare(source)
    assert not (tmp_path / "out").exists()


def test_a_broken_source_leaves_nothing(source: Path, tmp_path: Path) -> None:
    next((source / "test/red").iterdir()).write_text("no image")
    with pytest.raises(UserError, match="can't be read"):
        prepare(source)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("kitti", "kitti can't be prepared from .*: expected kitti as tensorflow_datasets"),
        ("cifer", "Did you mean 'cifar'"),
    ],
)
def test_tasks_that_cant_be_prepared(tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        vtab.prepare_vtab(name, str(tmp_path), tmp_path / "out", seed=0)

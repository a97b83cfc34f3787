import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from arcvit.core.errors import UserError
from arcvit.data.catalogue import find_task
from arcvit.data.make import vtab
from arcvit.data.make.tfds import Part
from arcvit.data.readers.layouts import open_task

COPIES = Path(__file__).parent / "tfds"
EXPECTED = json.loads((COPIES / "expected.json").read_text())
"""What tensorflow_datasets gives: tools/tfds_fixture.py."""
SIZES = {"cifar": {"classes": 4, "test": 20}, "clevr_dist": {"test": 10}}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Tasks of the size that the copies have."""

    def find(name: str, suite: str) -> Any:
        return replace(find_task(name, suite=suite), train=40, val=6, **SIZES.get(name, {}))

    monkeypatch.setattr(vtab, "find_task", find)
    return monkeypatch


@pytest.mark.parametrize("task", ["cifar", "clevr_dist"])
@pytest.mark.usefixtures("small")
def test_the_images_and_labels_that_tensorflow_datasets_gives(task: str, tmp_path: Path) -> None:
    written = vtab.prepare_vtab(task, str(COPIES), tmp_path, seed=0)
    assert written.own_draw
    counts = written.counts
    assert (counts["train"], counts["val"], counts["trainval"]) == (40, 6, 46)
    found = open_task(tmp_path / task)
    for split, expected in EXPECTED[task].items():
        images = found.split(split)
        pixels = [np.asarray(Image.open(path))[0, 0].tolist() for path in images.paths]
        got = [[pixel, label] for pixel, label in zip(pixels, images.labels, strict=True)]
        assert got == expected
        assert len(got) == counts[split]
    readme = (tmp_path / task / "README.md").read_text()
    assert "as VTAB's own are" in readme


def test_ones_become_white(small: Any, tmp_path: Path) -> None:
    source = vtab.SOURCES["cifar"]
    small.setattr(vtab, "SOURCES", {"cifar": replace(source, binary=True)})
    vtab.prepare_vtab("cifar", str(COPIES), tmp_path, seed=0)
    image = Image.open(open_task(tmp_path / "cifar").split("train").paths[0])
    pixel = EXPECTED["cifar"]["train"][0][0]
    assert np.asarray(image)[0, 0].tolist() == [min(value * 255, 255) for value in pixel]


@pytest.mark.parametrize(
    ("task", "change", "sentence"),
    [
        ("dtd", {}, "no prepared copies of dtd"),
        ("clevr_count", {}, "expected 8 classes and 15,000 test images, it has 8 and 10"),
        (
            "cifar",
            {"feature": "fine"},
            "image 0 of train, has image, label: expected image and fine",
        ),
        ("cifar", {"rule": lambda record: 4}, "image 0 of train, has the label 4: expected 0 to 3"),
    ],
)
def test_wrong_sources(
    small: Any, tmp_path: Path, task: str, change: dict[str, Any], sentence: str
) -> None:
    source = replace(vtab.SOURCES[task], **change)
    small.setattr(vtab, "SOURCES", {task: source})
    with pytest.raises(UserError, match=sentence):
        vtab.prepare_vtab(task, str(COPIES), tmp_path / "out", seed=0)
    assert not list(tmp_path.rglob("*.txt"))


@pytest.mark.parametrize("val", [Part("train", start=95), Part("validation")])
def test_a_copy_that_is_too_small(small: Any, tmp_path: Path, val: Part) -> None:
    source = vtab.SOURCES["cifar"]
    parts = {**source.parts, "val": val}
    small.setattr(vtab, "SOURCES", {"cifar": replace(source, parts=parts)})
    with pytest.raises(UserError, match=r"has [05] images to take val from: expected at least 6"):
        vtab.prepare_vtab("cifar", str(COPIES), tmp_path / "out", seed=0)


@pytest.mark.usefixtures("small")
def test_a_broken_copy_leaves_nothing(tmp_path: Path) -> None:
    shutil.copytree(COPIES / "cifar100", tmp_path / "cifar100")
    file = tmp_path / "cifar100/3.0.2/cifar100-train.tfrecord-00001-of-00003"
    content = bytearray(file.read_bytes())
    at = content.index(b"IHDR")
    content[at : at + 4] = b"oops"
    file.write_bytes(content)
    with pytest.raises(UserError, match="image 16 of train, can't be read"):
        vtab.prepare_vtab("cifar", str(tmp_path), tmp_path / "out", seed=0)
    file.unlink()
    with pytest.raises(UserError, match="00001-of-00003 isn't there"):
        vtab.prepare_vtab("cifar", str(tmp_path), tmp_path / "out", seed=0)
    assert not list((tmp_path / "out").iterdir())

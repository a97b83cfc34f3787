import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from arcvit.core.result import read_result

Arcvit = Callable[..., object]
Trained = Callable[[str], Path]
CLASSES = ["blue", "green", "red", "white"]


@pytest.mark.parametrize("method", ["arc", "linear", "full", "lora"])
def test_class_names_of_every_test_photo(
    arcvit: Arcvit, trained: Trained, photos: Path, method: str
) -> None:
    images = sorted((photos / "test").glob("*/*.png"))
    lines = arcvit("predict", trained(method), *images, "--json").out.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [answer["image"] for answer in answers] == [str(image) for image in images]
    hits = 0
    for image, answer in zip(images, answers, strict=True):
        ranked = answer["predictions"]
        assert sorted(r["class"] for r in ranked) == CLASSES
        probabilities = [r["probability"] for r in ranked]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        hits += ranked[0]["class"] == image.parent.name
    assert hits / len(images) == read_result(trained(method)).test_accuracy


def test_a_line_an_image(arcvit: Arcvit, trained: Trained, photos: Path) -> None:
    image = photos / "test" / "red" / "red_00.png"
    answer = arcvit("predict", trained("arc"), image, image, "--top", 2)
    assert answer.code == 0
    one, other = answer.out.splitlines()
    assert one == other
    assert one.startswith(f"{image}  ")
    assert one.count("%") == 2


def test_blank_images_are_named(arcvit: Arcvit, trained: Trained, tmp_path: Path) -> None:
    Image.new("RGB", (24, 24)).save(tmp_path / "night.png")
    answer = arcvit("predict", trained("arc"), tmp_path / "night.png")
    assert answer.code == 0
    assert "warning: 1 image(s) are blank" in answer.err
    assert "night.png" in answer.err


@pytest.mark.parametrize(("top", "count"), [(1, 1), (3, 3), (4, 4), (99, 4)])
def test_top(arcvit: Arcvit, trained: Trained, photos: Path, top: int, count: int) -> None:
    image = photos / "test" / "red" / "red_00.png"
    out = arcvit("predict", trained("arc"), image, "--top", top, "--json").out
    assert len(json.loads(out)["predictions"]) == count


@pytest.mark.parametrize("top", [0, -1])
def test_top_is_at_least_one(arcvit: Arcvit, trained: Trained, photos: Path, top: int) -> None:
    image = photos / "test" / "red" / "red_00.png"
    answer = arcvit("predict", trained("arc"), image, f"--top={top}")
    assert (answer.code, answer.out) == (2, "")
    assert f"--top {top} shows nothing: expected at least 1" in answer.err


def test_every_bad_image_is_listed(
    arcvit: Arcvit, trained: Trained, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no image")
    good = photos / "test" / "red" / "red_00.png"
    bad = [tmp_path / "text.png", tmp_path / "missing.png", tmp_path]
    answer = arcvit("predict", trained("arc"), good, *bad)
    assert (answer.code, answer.out) == (2, "")
    assert "3 image(s) can't be read" in answer.err
    for path in bad:
        assert str(path) in answer.err


def test_a_moved_or_other_backbone(
    arcvit: Arcvit, trained: Trained, photos: Path, other_tiny: Path
) -> None:
    image = photos / "test" / "red" / "red_00.png"
    answer = arcvit("predict", trained("arc"), image, "--backbone", other_tiny)
    assert answer.code == 2
    assert "the adapter was trained on" in answer.err
    assert arcvit("predict", trained("arc"), image, "--backbone", other_tiny, "--force").code == 0

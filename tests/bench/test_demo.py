"""The demo: on tiny data, and once as it is bundled."""

import base64
import dataclasses
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from arcvit.bench import demo as module
from arcvit.bench.demo import METHODS, TASKS, demo_recipe
from arcvit.core.result import read_result
from arcvit.data.config import DataConfig
from arcvit.recipe.execute import execute
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import Run

pytestmark = pytest.mark.slow

Arcvit = Callable[..., object]


@pytest.fixture
def tiny_demo(
    monkeypatch: pytest.MonkeyPatch,
    photos: Path,
    paint_classes: Callable[..., Path],
    tiny: Path,
    tmp_path: Path,
) -> None:
    """The demo on the tiny backbone and made photos: of four classes, and of two."""
    data = {"grocery": photos, "shapes": tmp_path / "shapes"}
    for seed, (split, count) in enumerate({"train": 8, "test": 12}.items()):
        paint_classes(data["shapes"] / split, count, seed=seed, classes=("blue", "red"))

    def recipe(task: str, method: str, *, seed: int, epochs: int) -> Recipe:
        made = demo_recipe(task, method, seed=seed, epochs=epochs)
        return dataclasses.replace(
            made,
            options=made.spec.make_options({"r": 8} if made.spec.section == "arc" else {}),
            data=DataConfig(path=str(data[task]), fit_on="trainval"),
            backbone=str(tiny),
        )

    monkeypatch.setattr(module, "demo_recipe", recipe)


def test_the_page_again_and_with_other_settings(
    arcvit: Arcvit, tiny_demo: None, tmp_path: Path
) -> None:
    out = tmp_path / "demo"
    answer = arcvit("demo", f"--out={out}", "--epochs=2", "--quiet")
    assert answer.code == 0  # type: ignore[attr-defined]
    assert sorted(p.name for p in out.iterdir()) == ["grocery", "index.html", "shapes"]
    check_page(out)
    for said in (r"both tasks in one batch: logits differ by at most (\S+)", r"by at most (\S+)\n"):
        found = re.search(said, answer.out)  # type: ignore[attr-defined]
        assert found is not None
        assert float(found[1]) <= 1e-4
    assert "next, with your own photos" in answer.out  # type: ignore[attr-defined]

    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*")}
    answer = arcvit("demo", f"--out={out}", "--epochs=2")
    assert answer.out.count("finished before") == 4  # type: ignore[attr-defined]
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*/*")} == before

    answer = arcvit("demo", f"--out={out}", "--epochs=3", "--seed=1")
    assert answer.code == 2  # type: ignore[attr-defined]
    sentence = "finished run with other settings (they differ in engine.epochs, seed): choose"
    assert sentence in answer.err  # type: ignore[attr-defined]


def check_page(out: Path) -> None:
    page = (out / "index.html").read_text(encoding="utf-8")
    for task in TASKS:
        for method in METHODS:
            result = read_result(out / task / method)
            assert result.selection == "fitted on trainval, last epoch, test read once"
            assert f"<td>{result.test_accuracy:.1%} (" in page
    pictures = re.findall(r'src="data:image/(png|jpeg);base64,([^"]+)"', page)
    assert len(pictures) == 12
    for _, content in pictures:
        Image.open(BytesIO(base64.b64decode(content))).load()
    # It is complete by itself.
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


def test_the_bundled_images_and_backbone(tmp_path: Path) -> None:
    recipe = demo_recipe("shapes", "linear", seed=0, epochs=20)
    # Not augmented, the head learns on features that are computed once.
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, augment="none"))
    result = execute(Run(recipe, tmp_path / "linear"), Console(), quiet=True)
    assert (result.backbone, result.task) == ("demo", "shapes")
    assert (result.classes, result.train_images) == (4, 200)
    assert result.test_accuracy is not None
    # Chance is one in four.
    assert result.test_accuracy > 0.4

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
from arcvit.bench.demo import METHODS, demo_recipe, table_row
from arcvit.core.result import read_result
from arcvit.data.config import DataConfig
from arcvit.recipe.execute import execute
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import Run

pytestmark = pytest.mark.slow

Arcvit = Callable[..., object]


@pytest.fixture
def tiny_demo(monkeypatch: pytest.MonkeyPatch, photos: Path, tiny: Path) -> None:
    """The demo on the tiny backbone and the made photos."""

    def recipe(method: str, *, seed: int, epochs: int) -> Recipe:
        made = demo_recipe(method, seed=seed, epochs=epochs)
        return dataclasses.replace(
            made,
            options=made.spec.make_options({"r": 8} if made.spec.section == "arc" else {}),
            data=DataConfig(path=str(photos), fit_on="trainval"),
            backbone=str(tiny),
        )

    monkeypatch.setattr(module, "demo_recipe", recipe)


@pytest.fixture
def out(arcvit: Arcvit, tiny_demo: None, tmp_path: Path) -> Path:
    """A finished demo."""
    answer = arcvit("demo", f"--out={tmp_path / 'demo'}", "--epochs=2", "--quiet")
    assert answer.code == 0  # type: ignore[attr-defined]
    return tmp_path / "demo"


def check_page(out: Path) -> None:
    page = (out / "index.html").read_text(encoding="utf-8")
    for method in METHODS:
        for cell in table_row(read_result(out / method)):
            assert f"<td>{cell}</td>" in page
    pictures = re.findall(r'src="data:image/(png|jpeg);base64,([^"]+)"', page)
    assert pictures[0][0] == "png"
    assert len(pictures) == 1 + 12
    for _, content in pictures:
        Image.open(BytesIO(base64.b64decode(content))).load()
    # It is complete by itself.
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    difference = re.search(r"over all test photos is ([\d.e+-]+)\.", page)
    assert difference is not None
    assert float(difference.group(1)) <= 1e-4


def test_a_run_a_method_and_a_page(out: Path) -> None:
    assert sorted(p.name for p in out.iterdir()) == sorted([*METHODS, "index.html"])
    for method in METHODS:
        result = read_result(out / method)
        assert (result.method, result.epochs) == (method, 2)
        assert result.selection == "fitted on trainval, last epoch, test read once"
    check_page(out)


def test_again_it_takes_what_is_there(out: Path, arcvit: Arcvit) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    answer = arcvit("demo", f"--out={out}", "--epochs=2")
    for method in METHODS:
        assert f"{method}: finished before" in answer.out  # type: ignore[attr-defined]
    assert "ARC's logits differ by at most" in answer.out  # type: ignore[attr-defined]
    assert f"open {out / 'index.html'}" in answer.out  # type: ignore[attr-defined]
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*")} == before


def test_with_other_settings_it_refuses(out: Path, arcvit: Arcvit) -> None:
    answer = arcvit("demo", f"--out={out}", "--epochs=3", "--seed=1")
    assert answer.code == 2  # type: ignore[attr-defined]
    sentence = "finished run with other settings (they differ in engine.epochs, seed): choose"
    assert sentence in answer.err  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_bundled_photos_and_backbone(tmp_path: Path) -> None:
    recipe = demo_recipe("linear", seed=0, epochs=3)
    result = execute(Run(recipe, tmp_path / "linear"), Console(), quiet=True)
    assert (result.backbone, result.task) == ("demo", "grocery")
    assert result.classes == 20
    assert result.test_accuracy is not None
    # Chance is one in twenty.
    assert result.test_accuracy > 0.15

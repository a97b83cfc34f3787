"""Made images and tasks, all under ``tmp_path``."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).parents[2].parent / "shared" / "data"

Paint = Callable[..., Path]
Plant = Callable[[Mapping[str, int]], Path]


@pytest.fixture
def shared() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data")
    return SHARED


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    """Write a noise image: ``paint("a/b.png", size=(height, width), seed=0, mode="RGB")``."""

    def write(
        name: str, *, size: tuple[int, int] = (8, 8), seed: int = 0, mode: str = "RGB"
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(noise).convert(mode).save(path)
        return path

    return write


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Write folders of empty files: ``plant({"train/cat": 3})``. Readers don't open images."""

    def write(counts: Mapping[str, int]) -> Path:
        for folder, count in counts.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                (tmp_path / folder / f"{index:03d}.jpg").touch()
        return tmp_path

    return write

"""Made images and tasks, all under ``tmp_path``."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcvit.data.make.vtab_write import write_vtab

Paint = Callable[..., Path]
Plant = Callable[[Mapping[str, int]], Path]


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


_CLASSES = ("a", "b", "c")
_COUNTS = {"train": 9, "val": 3, "test": 6}


def _picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _seeds(split: str) -> range:
    start = list(_COUNTS).index(split) * 100
    return range(start, start + _COUNTS[split])


@pytest.fixture
def vtab(tmp_path: Path) -> Path:
    """A sound task of three classes in the VTAB-1k layout, 9, 3 and 6 images of 32 pixels."""
    root = tmp_path / "mine"
    splits = {
        split: [(_picture(seed), index % 3) for index, seed in enumerate(_seeds(split))]
        for split in _COUNTS
    }
    write_vtab(root, splits, classes=_CLASSES, readme="made")
    return root


@pytest.fixture
def fgvc(tmp_path: Path) -> Path:
    """The same in the FGVC layout, with the class ids 5, 15 and 25."""
    root = tmp_path / "mine"
    (root / "images").mkdir(parents=True)
    for split in _COUNTS:
        listed = {}
        for index, seed in enumerate(_seeds(split)):
            _picture(seed).save(root / "images" / f"{split}_{index}.png")
            listed[f"{split}_{index}.png"] = 5 + 10 * (index % 3)
        (root / f"{split}.json").write_text(json.dumps(listed))
    return root


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """The same as class folders."""
    root = tmp_path / "mine"
    for split in _COUNTS:
        for index, seed in enumerate(_seeds(split)):
            folder = root / split / _CLASSES[index % 3]
            folder.mkdir(parents=True, exist_ok=True)
            _picture(seed).save(folder / f"{index}.png")
    return root

"""A tiny backbone and tiny tasks, made once a session: a whole ``arcvit train`` takes a second."""

import dataclasses
import gc
import importlib.util
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
"""The tiny backbone: width 32, two blocks, 17 tokens."""

COLOURS = {"blue": (0, 0, 255), "green": (0, 160, 0), "red": (255, 0, 0), "white": (255, 255, 255)}
"""Classes of the made photos and the colour that each leans to."""

SPLITS = {"train": 12, "val": 6, "test": 8}
"""Photos of each class in each split."""

SHORT = (
    "--engine.epochs=4",
    "--engine.batch_size=16",
    "--engine.precision=fp32",
    "--engine.track=[]",
    "--arc.r=8",
    "--quiet",
)
"""Settings of a run of a second."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str


Arcvit = Callable[..., Answer]
"""``arcvit("train", "--data.path=...")``."""
Trained = Callable[[str], Path]
"""``trained("arc")``: a finished run of a method. Not to be changed."""


gc.disable()  # while all is imported and collected: none of it is garbage


def pytest_collection_finish() -> None:
    """Look for garbage again, but not in what was there before the first test."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let the interpreter free everything at its end, or libraries in C++ tell of leaks."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """Files needn't reach the disk before they get their names: to wait takes milliseconds each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # a wrong descriptor is an error still
        patch.setattr(os, "sync", lambda: None)
        yield


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look-up of a name fails, and no proxy is asked instead."""
    look_up = socket.getaddrinfo

    def unreachable(host: object, *args: Any, **kwargs: Any) -> object:
        if host == "127.0.0.1":  # no name, and no network: servers of our own
            return look_up(host, *args, **kwargs)
        raise socket.gaierror(f"tests have no network: {host!r}")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def stand_in_hub() -> Any:
    """The module beside this file: most tests don't need it, nor the client that it imports."""
    spec = importlib.util.spec_from_file_location(
        "stand_in_hub", Path(__file__).with_name("stand_in_hub.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hub(stand_in_hub: Any, tmp_path: Path) -> Iterator[Any]:
    """The hub, empty, with an empty cache beside it."""
    stand_in = stand_in_hub.StandInHub()
    with stand_in_hub.serving(stand_in, tmp_path / "hub_cache"):
        yield stand_in


@pytest.fixture(scope="session")
def tiny_vit() -> Callable[..., Any]:
    """Build a tiny backbone with random weights: ``tiny_vit(num_classes=5)``."""

    def build(**changes: Any) -> Any:
        import timm

        return timm.create_model("vit_tiny_patch16_224", **TINY | changes)

    return build


@pytest.fixture(scope="session")
def save_tiny(tiny_vit: Callable[..., Any]) -> Callable[..., Path]:
    """Write a tiny backbone as a folder in timm's format: ``save_tiny(folder, seed=0)``."""

    def save(folder: Path, *, seed: int = 0, **changes: int) -> Path:
        import timm.models
        import torch

        torch.manual_seed(seed)
        arguments = TINY | changes
        timm.models.save_for_hf(
            tiny_vit(**changes), folder, model_args=arguments, safe_serialization=True
        )
        return folder

    return save


@pytest.fixture(scope="session")
def tiny(save_tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT of two blocks with random weights, as a folder in timm's format."""
    return save_tiny(tmp_path_factory.mktemp("backbone") / "tiny", seed=0)


@pytest.fixture(scope="session")
def other_tiny(save_tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture with other weights."""
    return save_tiny(tmp_path_factory.mktemp("backbone") / "other", seed=1)


@pytest.fixture(scope="session")
def make_adapter(tiny: Path) -> Callable[..., Path]:
    """Write an adapter whose outputs are far from those of any other: ``make_adapter(folder)``."""

    def make(
        folder: Path,
        *,
        labels: int = 3,
        seed: int = 0,
        known: float | None = None,
        multilabel: bool = False,
        method: str = "arc",
        size: int | None = None,
        backbone: Path | None = None,
        **arc: Any,
    ) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model
        from torch import nn

        import arcvit
        from arcvit.backbones.build import build_backbone
        from arcvit.core.task import Calibration, read_task
        from arcvit.methods.linear import NO_LAYER
        from arcvit.methods.means import write_means

        name = str(backbone or tiny)
        model = build_backbone(name, num_classes=labels, image_size=size).model
        config: Any = arcvit.ArcConfig(**{"r": 8, "modules_to_save": ["head"]} | arc)
        if method != "arc":
            targets: Any = NO_LAYER if method == "linear" else ["qkv"]
            config = LoraConfig(target_modules=targets, modules_to_save=["head"])
        adapted = get_peft_model(model, config)
        torch.manual_seed(seed)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.5)
        names = [f"label {seed}.{k}" for k in range(labels)]
        about: dict[str, Any] = {"backbone": name, "image_size": size, "head": "head"}
        arcvit.save_adapter(adapted, folder, labels=names, **about)
        if multilabel:
            dataclasses.replace(read_task(folder), kind="multilabel").write(folder)
        if known is not None:
            calibration = Calibration(
                temperature=1.5, images=9, score="cosine", threshold=known, coverage=0.95
            )
            dataclasses.replace(read_task(folder), calibration=calibration).write(folder)
            write_means(folder, torch.randn(labels, 32))
        return folder

    return make


@pytest.fixture(scope="session")
def paint_classes() -> Callable[..., Path]:
    """Write class folders of noise squares: ``paint_classes(folder, count, seed=0)``."""

    def paint(folder: Path, count: int, *, seed: int = 0, classes: tuple[str, ...] = ()) -> Path:
        draws = np.random.default_rng(seed)
        for name in classes or tuple(COLOURS):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                # Photos of one class differ, so that accuracy is neither chance nor one.
                tint = 0.12 * np.array(COLOURS[name]) + draws.normal(110, 14, 3)
                noise = draws.normal(0, 40, (24, 24, 3))
                pixels = np.clip(tint + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{name}_{index:02d}.png")
        return folder

    return paint


@pytest.fixture(scope="session")
def photos(paint_classes: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes with train/, val/ and test/. Not to be changed."""
    root = tmp_path_factory.mktemp("data") / "colours"
    for seed, (split, count) in enumerate(SPLITS.items()):
        paint_classes(root / split, count, seed=seed)
    return root


@pytest.fixture
def arcvit(capsys: pytest.CaptureFixture[str]) -> Arcvit:
    """Run a command in this process."""
    from arcvit.cli.main import main

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code=code, out=captured.out, err=captured.err)

    return run


@pytest.fixture(scope="session")
def short_run(photos: Path, tiny: Path) -> tuple[str, ...]:
    """Arguments of a run of a second, without method and out."""
    return (f"--data.path={photos}", f"--backbone={tiny}", *SHORT)


@pytest.fixture(scope="session")
def trained(short_run: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A finished run of each method that is asked for, trained once."""
    from arcvit.cli.main import main

    folder = tmp_path_factory.mktemp("runs")

    def run(method: str) -> Path:
        out = folder / method
        if not out.exists():
            assert main(["train", *short_run, f"--method={method}", f"--out={out}"]) == 0
        return out

    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser of one module: while it is there, no other event loop can run in this thread.

    Skips where Playwright or Chromium isn't there; fails if ``ARCVIT_BROWSER=required``.
    """
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing = "the Python package playwright"
    else:
        missing = "" if chromium else "chromium"
    if missing:
        give_up = pytest.fail if os.environ.get("ARCVIT_BROWSER") == "required" else pytest.skip
        give_up(f"{missing} is needed to look at pages")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()

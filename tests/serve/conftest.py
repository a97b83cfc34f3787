"""Adapters far from the identity on the tiny backbone, as a server finds them in a folder."""

import asyncio
import io
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from arcvit.serve.request import Images
from arcvit.serve.service import Service

MakeAdapter = Callable[..., Path]
"""``make_adapter(folder, labels=3, seed=0, known=None, **arc)``; ``method="linear"`` or "lora"."""
StartService = Callable[..., Service]
"""``start(folder, **settings)``: a service that is ready, and stopped after the test."""


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What comes of a coroutine; a minute is taken for ever."""

    async def within() -> Any:
        async with asyncio.timeout(60):
            return await coroutine

    return asyncio.run(within())


@pytest.fixture(scope="session")
def photos_as_files() -> list[bytes]:
    """Eight small photos of noise, as PNG files."""
    draws = np.random.default_rng(0)
    files = []
    for _ in range(8):
        pixels = draws.integers(0, 256, (24, 30, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files.append(file.getvalue())
    return files


@pytest.fixture(scope="session")
def eight(photos_as_files: list[bytes]) -> Images:
    """The photos as a request has them."""
    return Images(files=photos_as_files)


@pytest.fixture
def start(tiny: Path) -> Iterator[StartService]:
    """Services on the tiny backbone."""
    started: list[Service] = []

    def begin(folder: Path, **settings: Any) -> Service:
        given = {"device": "cpu", "watch": 0, "workers": 2, **settings}
        started.append(Service.start(str(tiny), folder, **given))
        return started[-1]

    yield begin
    for service in started:
        run(service.drain(5))


@pytest.fixture(scope="session")
def shared(
    make_adapter: MakeAdapter, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with one task, which isn't to be changed; few images may wait, and small ones."""
    folder = tmp_path_factory.mktemp("adapters")
    make_adapter(folder / "task")
    settings = {"device": "cpu", "watch": 0, "workers": 2, "queue": 16, "max_pixels": 10_000}
    service = Service.start(str(tiny), folder, **settings)
    yield service
    run(service.drain(5))

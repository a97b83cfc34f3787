"""A browser to look at pages with: Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Skips where Playwright or Chromium isn't there; fails if ``ARCVIT_BROWSER=required``."""
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


@pytest.fixture
def in_browser(browser: Any) -> Callable[..., AbstractContextManager[Any]]:
    """Open a page: ``in_browser(page, width=400)``.

    It must fit, draw all its pictures, ask for nothing and have nothing to complain about.
    """

    @contextmanager
    def look(page: Path, *, width: int) -> Iterator[Any]:
        complaints: list[str] = []
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: complaints.append(request.url))
        tab.goto(page.as_uri())
        _fits(tab)
        yield tab
        _fits(tab)
        tab.close()
        fetched = [page.as_uri()]
        assert [said for said in complaints if not said.startswith("data:")] == fetched

    return look


def _fits(tab: Any) -> None:
    assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    undrawn = "[...document.images].filter(i => !(i.complete && i.naturalWidth > 9))"
    assert tab.evaluate(f"{undrawn}.map(i => i.alt)") == []

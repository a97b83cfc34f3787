"""A browser to look at pages with: Chromium, driven by Playwright."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest


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

"""The page of the server, as someone uses it on a screen and on a phone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from arcvit.serve.http.app import build_app
from arcvit.serve.http.context import Context
from arcvit.serve.http.tokens import Tokens

pytestmark = pytest.mark.slow

TOKEN = "t" * 16


@pytest.fixture
def tab(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty tab of this width, which must have nothing to complain about."""
    complaints: list[str] = []
    tab = browser.new_page(viewport={"width": request.param, "height": 900})
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    yield tab
    tab.close()
    # The browser tells of every answer that isn't 200, and we make it get some.
    assert [said for said in complaints if "the server responded with" not in said] == []


@pytest.mark.parametrize("tab", [1280, 400], indirect=True)
def test_photos_are_answered(tab: Any, client: Any, photos_as_files: list[bytes]) -> None:
    client.post("/v1/tasks/torn/predict", content=photos_as_files[0])  # nobody knew before
    tab.goto(str(client.base_url))
    tab.wait_for_selector("#ask:not([hidden])")
    state = tab.locator("#state").inner_text()
    assert state == "3 tasks on one backbone; 1 more can't be asked."
    assert tab.locator("#take").get_attribute("capture") == "environment"
    tab.locator("#tasks label", has_text="shapes").locator("input").uncheck()
    assert tab.locator("#chosen").inner_text() == "2 chosen"
    photos = [photo_file(f"{k}.png", data) for k, data in enumerate(photos_as_files[:2])]
    tab.set_input_files("#choose", photos)
    tab.locator(".best").nth(3).wait_for()
    last = tab.locator(".answer").first
    assert last.locator("figcaption").inner_text() == "1.png"
    assert last.locator("img").evaluate("image => image.naturalWidth") == 30
    assert last.locator("h3").all_inner_texts() == ["fruit", "tags, any"]
    # Random features are like none of the classes.
    fruit = last.locator("section").first
    assert fruit.locator(".best").inner_text() in (
        "unknown",
        fruit.locator("dt").first.inner_text(),
    )
    assert fruit.locator("dt").count() == 3
    assert fruit.locator("dd").nth(1).inner_text().endswith("%")
    fits(tab)

    # What was removed while the page was open says so beside the others.
    client.post("/v2/repository/models/fruit/unload").raise_for_status()
    tab.set_input_files("#choose", photos[:1])
    tab.locator("section .warning").wait_for()
    client.post("/v2/repository/models/fruit/load").raise_for_status()
    first, second = last.locator("section").all()
    assert first.inner_text() == "fruit\n\ntask 'fruit' was unloaded: load it to use it again."
    assert second.locator("dt").count() == 3
    fits(tab)

    tab.set_input_files("#take", [photo_file("<b>bold</b>.txt", b"no photo")])
    tab.wait_for_selector(".all > .warning")
    warning = tab.locator(".all > .warning").inner_text()
    assert warning.startswith("<b>bold</b>.txt can't be read: not an image")
    tab.locator("summary").click()
    tab.locator("#adapters", has_text="on the device").wait_for()
    assert tab.locator("#adapters tr").count() == 4
    fits(tab)


@pytest.mark.parametrize("tab", [400], indirect=True)
def test_a_token_is_asked_for_once(
    tab: Any, context: Context, listening: Callable[..., AbstractContextManager[int]]
) -> None:
    tokens = Tokens.read(None, {"ARCVIT_TOKENS": TOKEN})
    guarded = Context(context.service, context.metrics, context.limits, tokens)
    with listening(build_app(guarded), guarded.limits) as port:
        tab.goto(f"http://127.0.0.1:{port}/")
        for given in ("wrong", TOKEN):
            tab.locator("#secret").fill(given)
            tab.locator("#token button").click()
        tab.wait_for_selector("#ask:not([hidden])")
        assert tab.locator("#token").is_hidden()
        tab.reload()
        tab.wait_for_selector("#ask:not([hidden])")


def photo_file(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/png", "buffer": data}


def fits(tab: Any) -> None:
    assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0

"""The page at /: photos in, labels out. One file that fetches nothing but answers."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response


@cache
def _page() -> tuple[str, str]:
    """The page, and what it may do: run its own script, ask this server, show photos at hand."""
    own, shared = files("arcvit.serve.http"), files("arcvit").joinpath("assets", "photo_page")
    style = files("arcvit.pages").joinpath("templates", "style.css")
    look = _texts(style, shared.joinpath("page.css"))
    script = _texts(shared.joinpath("photos.js"), own.joinpath("page.js"))
    html = _texts(own.joinpath("page.html"))
    html = html.replace("PHOTOS", _texts(shared.joinpath("photos.html")))
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(look)};"
        " img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )
    return html.replace("STYLE", look).replace("SCRIPT", script), policy


async def page(_: Request) -> Response:
    """The page."""
    html, policy = _page()
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    return Response(html, headers=headers, media_type="text/html")


def _texts(*parts: Traversable) -> str:
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

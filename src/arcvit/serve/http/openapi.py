"""The description of the server that tools read."""

from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import yaml
from starlette.requests import Request
from starlette.responses import Response

from arcvit.serve.http.door import json_answer


@cache
def described() -> dict[str, Any]:
    """The OpenAPI document."""
    text = files("arcvit.serve.http").joinpath("openapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    document["info"]["version"] = version("arcvit")
    return document


async def openapi(_: Request) -> Response:
    """The OpenAPI document."""
    return json_answer(described())

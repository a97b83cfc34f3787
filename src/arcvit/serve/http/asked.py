"""From a request to an answer, while its client is there and its time isn't over."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from arcvit.serve.http.body import read_body
from arcvit.serve.http.context import context_of
from arcvit.serve.http.http_error import HttpError
from arcvit.serve.http.limits import Limits

Endpoint = Callable[[Request], Awaitable[Response]]
Answering = Callable[[Request, bytes], Coroutine[Any, Any, Response]]


def with_body(answer: Answering) -> Endpoint:
    """An endpoint that is given the body, and stops where the client goes away."""

    @wraps(answer)
    async def endpoint(request: Request) -> Response:
        context = context_of(request)
        with context.memory.share() as share:
            body = await read_body(request, context.limits, share, context.reader)
            return await _unless_gone(request, answer(request, body))

    return endpoint


def for_admin(endpoint: Endpoint) -> Endpoint:
    """An endpoint that only those are let to who may load and unload; before its body is read."""

    @wraps(endpoint)
    async def checked(request: Request) -> Response:
        context_of(request).tokens.check(request, admin=True)
        return await endpoint(request)

    return checked


def deadline(limits: Limits, seconds: float | None) -> float:
    """When a request must be answered, by ``time.monotonic()``."""
    return time.monotonic() + min(seconds or math.inf, limits.request_timeout)


def number_in(
    request: Request, name: str, kind: type[int] | type[float], default: Any = None
) -> Any:
    """A positive number of a query.

    Raises:
        HttpError: it isn't one.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = kind(text) if text.isascii() and "_" not in text and len(text) < 20 else 0
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        wanted = "a whole number from 1 on" if kind is int else "a positive number"
        raise HttpError(400, f"{name} is {text!r:.40}: expected {wanted}.")
    return value


async def _unless_gone(request: Request, answer: Coroutine[Any, Any, Response]) -> Response:
    work = asyncio.ensure_future(answer)
    # Behind the body nothing comes but that the client has gone.
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        gone.cancel()
        work.cancel()

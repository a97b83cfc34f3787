"""What happens to every request: its name, its token, its error, its count."""

import json
import logging
import math
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arcvit.core.errors import UserError
from arcvit.core.shown import plain
from arcvit.serve import refusals
from arcvit.serve.http.context import Context
from arcvit.serve.http.http_error import HttpError

_STATUS: tuple[tuple[type[UserError], int], ...] = (
    (refusals.TaskUnavailable, 404),
    (refusals.QueueFull, 429),
    (refusals.DeadlineExceeded, 504),
    (refusals.NotAnImage, 422),
    (refusals.NotReady, 503),
    (refusals.Draining, 503),
    (refusals.Failed, 500),
    (UserError, 400),
)
_OPEN = ("/", "/openapi.json", "/v2/health/live", "/v2/health/ready")
"""What says nothing of the tasks is open; the page asks for a token itself."""
_GONE = 499
_ID = "x-request-id"
_LOG = logging.getLogger("arcvit.serve")


class Door:
    """Every request comes and every answer goes through here.

    Args:
        app: the routes.
        context: the server's parts.
    """

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] != "http":
            return
        context, request_id, began = self._context, _request_id(scope), time.perf_counter()
        status = 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                headers[_ID] = request_id
                headers["x-content-type-options"] = "nosniff"
                if context.service.state == "draining":
                    headers["connection"] = "close"
            await send(message)

        context.in_flight += 1
        context.metrics.began()
        try:
            _check_framing(Headers(scope=scope), scope["http_version"])
            if scope["path"] not in _OPEN:
                context.tokens.check(Request(scope))
            await self._app(scope, receive, named)
        except ClientDisconnect:
            status = _GONE
        except Exception as error:
            if status:
                raise
            await _answer_to(error, request_id)(scope, receive, named)
        finally:
            context.in_flight -= 1
            endpoint = getattr(scope.get("endpoint"), "__name__", "nothing")
            context.metrics.ended(endpoint, status or _GONE)
            if context.log_requests:
                milliseconds = 1000 * (time.perf_counter() - began)
                peer = (scope.get("client") or ("-",))[0]
                said = f"{scope['method']} {plain(scope['path'])} {status or _GONE}"
                _LOG.info("%s %.1f ms %s %s", said, milliseconds, peer, request_id)


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON; callables in it are called when it is their turn."""
    # Between steps of Python other threads may go on, and json itself takes none: what is large
    # should be made of callables for its parts.
    text = json.dumps(content, default=lambda make: make())
    return Response(text, status, headers, "application/json")


def not_routed(_: Request, error: Exception) -> Response:
    """What is said where there is nothing of a name, or not for a method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        sentence = "this isn't for that method: see /openapi.json."
    else:
        sentence = "there is nothing of this name: see /openapi.json."
    return json_answer({"error": sentence}, error.status_code, dict(error.headers or {}))


def _answer_to(error: Exception, request_id: str) -> Response:
    if isinstance(error, HttpError):
        return json_answer({"error": error.sentence}, error.status, error.headers)
    if not isinstance(error, UserError):
        _LOG.error("request %s failed", request_id, exc_info=error)
        sentence = f"something is wrong with the server: its log says more of request {request_id}."
        return json_answer({"error": sentence}, 500)
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    headers = {}
    if status in (429, 503):
        headers["Retry-After"] = str(math.ceil(getattr(error, "retry_after", 1)))
    if status == 500:
        _LOG.error("request %s failed: %s", request_id, plain(error))
    return json_answer({"error": str(error)}, status, headers)


def _check_framing(headers: Headers, http_version: str) -> None:
    """Refuse a body whose end a proxy may have seen elsewhere (RFC 9112, section 6.1)."""
    if "transfer-encoding" in headers and ("content-length" in headers or http_version == "1.0"):
        raise HttpError(
            400,
            "the request has a Transfer-Encoding beside a Content-Length or in HTTP/1.0: expected"
            " one of the two headers, and HTTP/1.1.",
            {"Connection": "close"},
        )


def _request_id(scope: Scope) -> str:
    """The name a client gave its request, where it is one, else a new one."""
    given = Headers(scope=scope).get(_ID, "")
    return given if re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", given) else uuid.uuid4().hex

"""A connection that is closed where its client keeps it waiting.

uvicorn waits for ever for the rest of a request that was begun, and for the first byte of one.
"""

import asyncio
import json
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from arcvit.serve.http.limits import Limits

Waiting = Literal["idle", "head", "body", "answer"]


class Connection(H11Protocol):
    """A connection with deadlines for the head and the body of each request.

    Attributes:
        limits: set by ``with_limits``.
        waiting: what it waits for: a request, the rest of one, or its answer.
        since: when it began to, in seconds of the loop's clock.
    """

    limits = Limits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: Waiting = "idle"
        self.since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._request: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client has come; where there are too many, the longest idle one goes."""
        super().connection_made(transport)
        self._wait("idle")
        if len(self.connections) <= self.limits.max_connections:
            return
        others = (other for other in self.connections if isinstance(other, Connection))
        idle = [other for other in others if other.waiting == "idle" and other is not self]
        if idle:
            leaving = min(idle, key=lambda other: other.since)
            # Gone from the set at once: many may come before the loop closes it.
            self.connections.discard(leaving)
            leaving.transport.abort()
        else:
            self._refuse(503, "the server has as many connections as it can: ask again later.")

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see what they were."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """An answer is sent, and the next request may have come already."""
        super().on_response_complete()
        self._look()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing was asked for a while; a client that doesn't read its answer goes, too."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Say that it isn't HTTP, in the form of all errors."""
        self._refuse(400, f"{msg.rstrip('.')}.")

    def _look(self) -> None:
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            # Of one request, not from byte to byte.
            if self.waiting != "body" or self._request is not self.cycle:
                self._request = self.cycle
                self._wait("body")
        elif state is not h11.IDLE:
            self._wait("answer")
        elif not self.conn.trailing_data[0]:
            self._wait("idle")
        elif self.waiting != "head":
            self._wait("head")

    def _wait(self, what: Waiting) -> None:
        self._stop_timer()
        self.waiting, self.since = what, self.loop.time()
        seconds = {
            "idle": self.limits.idle_timeout,
            "head": self.limits.header_timeout,
            "body": self.limits.body_timeout,
        }.get(what)
        if seconds is not None and not self.transport.is_closing():
            self._timer = self.loop.call_later(seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self.waiting == "idle":
            self.timeout_keep_alive_handler()
        else:
            seconds = (
                self.limits.header_timeout if self.waiting == "head" else self.limits.body_timeout
            )
            self._refuse(408, f"the {self.waiting} of the request didn't come in {seconds:g} s.")

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer in place of the application, and close."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()  # it was answered already, and goes on sending
            return
        body = json.dumps({"error": sentence}).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        if self.cycle is not None and not self.cycle.response_complete:
            # The application waits for the rest of the body: it learns that none will come.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        answer = h11.Response(status_code=status, headers=headers)
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._stop_timer()
        self.transport.close()


def with_limits(limits: Limits) -> type[Connection]:
    """The connections of a server with these limits."""
    return type("LimitedConnection", (Connection,), {"limits": limits})

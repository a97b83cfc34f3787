"""A server of HTTP in a thread, and clients that speak it byte by byte."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import pytest

Listening = Callable[..., AbstractContextManager[int]]


class Said(NamedTuple):
    """An answer of HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        sentence = json.loads(self.body)["error"]
        assert isinstance(sentence, str)
        return sentence


class Client:
    """A connection that knows no more of HTTP than an answer's length."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def answer(self) -> Said | None:
        """The next answer; None where the connection was closed."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (more := self._received(1)):
                assert not head
                return None
            head += more
        first, *lines = head.decode().rstrip().split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        headers = {name.lower(): value for name, _, value in pairs}
        body = b""
        while missing := int(headers["content-length"]) - len(body):
            body += self._received(missing)
        return Said(int(first.split()[1]), headers, body)

    def is_closed(self) -> bool:
        return self._received(65536) == b""

    def _received(self, most: int) -> bytes:
        try:
            return self._connection.recv(most)
        except ConnectionError:
            return b""


Connecting = Callable[[int], AbstractContextManager[Client]]


@pytest.fixture
def listening() -> Listening:
    """Run an application: ``with listening(app, limits) as port``."""
    import uvicorn

    from arcvit.serve.http.connection import with_limits

    @contextmanager
    def run(app: Any, limits: Any) -> Iterator[int]:
        config = uvicorn.Config(
            app,
            http=with_limits(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            loop="asyncio",
        )
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
            thread.start()
            yield listener.getsockname()[1]
            server.should_exit = server.force_exit = True
            thread.join()

    return run


@pytest.fixture
def connected() -> Connecting:
    """Open a connection: ``with connected(port) as client``."""

    @contextmanager
    def connect(port: int) -> Iterator[Client]:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            yield Client(connection)

    return connect

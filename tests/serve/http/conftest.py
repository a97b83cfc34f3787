"""A server of HTTP in a thread, and clients that speak it byte by byte."""

import asyncio
import json
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
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

    def has_answer(self, within: float) -> bool:
        return bool(select.select([self._connection], [], [], within)[0])

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


def steps_beside(work: Callable[[], object]) -> int:
    """How often this thread gets its turn while another one works."""
    thread = threading.Thread(target=work)
    before, steps = sys.getswitchinterval(), 0
    sys.setswitchinterval(1e-5)
    try:
        thread.start()
        while thread.is_alive():
            steps += 1
            time.sleep(0.0005)
    finally:
        sys.setswitchinterval(before)
    return steps


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
            try:
                yield listener.getsockname()[1]
            finally:
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


@pytest.fixture(scope="session")
def adapters(make_adapter: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks, one of them in two versions, one of several labels an image, and one that is torn."""
    folder = tmp_path_factory.mktemp("adapters")
    make_adapter(folder / "fruit", labels=4, seed=1, known=0.0)
    make_adapter(folder / "shapes" / "1", labels=2, seed=2)
    make_adapter(folder / "shapes" / "2", labels=2, seed=3)
    make_adapter(folder / "tags, any", labels=3, seed=5, multilabel=True)
    (make_adapter(folder / "torn", seed=4) / "adapter_model.safetensors").write_bytes(b"torn")
    return folder


@pytest.fixture(scope="session")
def context(tiny: Path, adapters: Path) -> Iterator[Any]:
    """The parts of a server of these tasks."""
    from arcvit.serve.http.context import Context
    from arcvit.serve.http.limits import Limits
    from arcvit.serve.http.metrics import Metrics
    from arcvit.serve.service import Service
    from arcvit.serve.settings import ServeSettings

    metrics = Metrics()
    settings = ServeSettings(device="cpu", workers=1, watch=0.0, max_wait=0.0)
    service = Service(str(tiny), adapters, settings, observer=metrics)
    service.begin()
    service.wait_until_ready()
    yield Context(service, metrics, Limits(max_body_mb=1, max_images=8))
    asyncio.run(service.drain(5))


@pytest.fixture
def client(context: Any, listening: Listening) -> Iterator[Any]:
    """A client of this server."""
    import httpx

    from arcvit.serve.http.app import build_app

    with (
        listening(build_app(context), context.limits) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client

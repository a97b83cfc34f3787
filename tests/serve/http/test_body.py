"""Bodies that are too large, packed, or too many at once."""

import asyncio
import gzip
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("starlette")

from starlette.requests import Request

from arcvit.serve.http.apart import LARGE
from arcvit.serve.http.body import Memory, read_body
from arcvit.serve.http.http_error import HttpError
from arcvit.serve.http.limits import Limits
from arcvit.serve.http.uploads import photos_of

LIMITS = Limits(max_body_mb=0.001, max_held_mb=0.0015, max_images=2)
MOST = LIMITS.max_body
THREAD = ThreadPoolExecutor(1)


async def read(
    body: bytes, memory: Memory | None = None, *, chunk: int = 100, **headers: str
) -> bytes:
    pieces = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]

    async def receive() -> dict[str, Any]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    request = Request({"type": "http", "headers": raw}, receive)
    with (memory or Memory(LIMITS.max_held)).share() as share:
        return await read_body(request, LIMITS, share, THREAD)


def now(coroutine: Any) -> Any:
    """The result of what never has to wait."""
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    return done.value.value


def test_bodies_as_they_are_and_packed() -> None:
    body = b"photo" * 100
    assert now(read(body)) == body
    assert now(read(gzip.compress(body), content_encoding="gzip")) == body
    assert now(read(zlib.compress(body), content_encoding="deflate")) == body


def test_what_is_little_when_packed_is_unpacked_beside_the_loop() -> None:
    body, threads = bytes(3 * LARGE), set()

    class Thread(ThreadPoolExecutor):
        def submit(self, *given: Any) -> Any:
            threads.add(given)
            return super().submit(*given)

    limits = Limits(max_body_mb=1, max_held_mb=2)
    with Thread(1) as thread, Memory(limits.max_held).share() as share:

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": gzip.compress(body)}

        raw = [(b"content-encoding", b"gzip")]
        request = Request({"type": "http", "headers": raw}, receive)
        assert asyncio.run(read_body(request, limits, share, thread)) == body
    assert len(threads) == 1


PACKED = gzip.compress(b"photo", mtime=0)  # the same in each process that collects the tests
BOMB = gzip.compress(bytes(MOST + 1), mtime=0)


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (bytes(MOST + 1), {}, 413, "larger than 1,048 bytes"),
        (b"a", {"content_length": str(MOST + 1)}, 413, "larger than 1,048 bytes"),
        (BOMB, {"content_encoding": "gzip"}, 413, "unpacks to more than 1,048 bytes"),
        (b"plain", {"content_encoding": "gzip"}, 400, "isn't gzip"),
        (PACKED[:-3], {"content_encoding": "gzip"}, 400, "ends too early"),
        (PACKED + b"!", {"content_encoding": "gzip"}, 400, "goes on behind"),
        (b"photo", {"content_encoding": "br"}, 415, "expected gzip or deflate"),
    ],
)
def test_bodies_that_are_refused(
    body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    memory = Memory(LIMITS.max_held)
    with pytest.raises(HttpError, match=said) as caught:
        now(read(body, memory, **headers))
    assert caught.value.status == status
    assert memory.held == 0


def test_a_body_that_is_too_large_is_read_on_for_a_while() -> None:
    # Whoever is sending sees the answer only behind it, unless it goes on for too long.
    rest: list[bytes] = [bytes(100)] * 1000

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": rest.pop(), "more_body": bool(rest)}

    with Memory(LIMITS.max_held).share() as share, pytest.raises(HttpError):
        now(read_body(Request({"type": "http", "headers": []}, receive), LIMITS, share, THREAD))
    assert 1000 - len(rest) == 8 * MOST // 100 + 1


def test_as_many_bytes_are_held_as_may_be() -> None:
    memory = Memory(LIMITS.max_held)
    with memory.share() as share:
        share.take(1000)
        with pytest.raises(HttpError, match="holds all the requests it can") as caught:
            now(read(bytes(1000), memory))
        assert caught.value.status == 429
        assert caught.value.headers == {"Retry-After": "1"}
        assert memory.held == 1000
    assert now(read(bytes(1000), memory)) == bytes(1000)


def form(*parts: tuple[str, bytes], name: str = "image", end: bytes = b"--x--\r\n") -> bytes:
    said = b""
    for file, data in parts:
        named = f'; filename="{file}"' if file else ""
        said += f'--x\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode()
        said += data + b"\r\n"
    return said + end


def photos(body: bytes, kind: str) -> Any:
    request = Request({"type": "http", "headers": [(b"content-type", kind.encode())]})
    return photos_of(request, body, LIMITS)


FORM = "multipart/form-data; boundary=x"


def test_photos_of_a_form_and_of_a_body() -> None:
    found = asyncio.run(photos(form(("ä.jpg", b"one"), ("", b"a field"), ("b", b"\r\n2")), FORM))
    assert found == [("ä.jpg", b"one"), ("b", b"\r\n2")]
    for kind in ("image/jpeg", "application/x-www-form-urlencoded", ""):
        assert asyncio.run(photos(b"as it is", kind)) == [(None, b"as it is")]


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"", "image/jpeg", 400, "there is no image"),
        (form(), FORM, 400, "the form holds no file"),
        (form(("", b"a")), FORM, 400, "the form holds no file"),
        (form(("a", b"a")), "multipart/form-data", 400, "the form can't be read"),
        (b"nothing of a form", FORM, 400, "the form can't be read"),
        (form(("a", b"a"), ("b", b"b"))[:-12], FORM, 400, "it ends before its last boundary"),
        (b"", FORM, 400, "it ends before its last boundary"),
        (form(("a", b"a")), f"{FORM}; charset=undefined", 400, "the form can't be read"),
        (form(*[("a", b"a")] * 3), FORM, 413, "Too many files"),
        (form(*[("", b"a")] * 3), FORM, 413, "Too many fields"),
    ],
)
def test_forms_that_are_refused(body: bytes, kind: str, status: int, said: str) -> None:
    with pytest.raises(HttpError, match=said) as caught:
        asyncio.run(photos(body, kind))
    assert caught.value.status == status

"""The body of a request: read within limits, unpacked within the same limits."""

import zlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from starlette.requests import ClientDisconnect, Request

from arcvit.serve.http.apart import LARGE, apart
from arcvit.serve.http.http_error import HttpError
from arcvit.serve.http.limits import Limits

_WINDOW = {"gzip": 31, "deflate": 15}
"""What zlib calls the formats; deflate is zlib's own, as RFC 9110 has it."""
_SPILL = 8
"""So many times the limit is read and thrown away, so that the client comes to read why."""


class Memory:
    """The bytes of all bodies that are held at once.

    Args:
        most: as many may there be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def take(self, size: int) -> None:
        """Count bytes.

        Raises:
            HttpError: there are too many already.
        """
        if self.held + size > self._most:
            raise HttpError(
                429,
                "the server holds all the requests it can: ask again later.",
                {"Retry-After": "1"},
            )
        self.held += size

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """What one request takes, given back when it is answered."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held -= share.size


class Share:
    """The bytes that one request holds."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.size = 0

    def take(self, size: int) -> None:
        """Count bytes of this request; see ``Memory.take``."""
        self._memory.take(size)
        self.size += size


async def read_body(request: Request, limits: Limits, share: Share, thread: Executor) -> bytes:
    """All bytes of a body, unpacked, in the thread where it is large.

    Raises:
        HttpError: it is too large, or packed in a way that isn't read.
        ClientDisconnect: the client went away before it was whole.
    """
    packing = request.headers.get("content-encoding", "identity").strip().lower()
    if packing not in (*_WINDOW, "identity"):
        raise HttpError(415, f"Content-Encoding is {packing!r}: expected gzip or deflate, or none.")
    announced = request.headers.get("content-length", "")
    too_large = announced.isdigit() and int(announced) > limits.max_body
    chunks: list[bytes] = []
    size = 0
    async for chunk in _chunks(request):
        size += len(chunk)
        if too_large or size > limits.max_body:
            # Whoever is still sending doesn't listen: closing now would lose the answer.
            chunks.clear()
            too_large = True
            if size > _SPILL * limits.max_body:
                break
        else:
            share.take(len(chunk))
            chunks.append(chunk)
    if too_large:
        raise HttpError(
            413,
            f"the request is larger than {limits.max_body:,} bytes: send fewer or smaller images.",
            {"Connection": "close"},
        )
    body = b"".join(chunks)
    if packing == "identity":
        return body
    found = await _unpacked(body, packing, limits.max_body, thread)
    share.take(len(found))
    return found


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if chunk := message.get("body", b""):
            yield chunk
        if not message.get("more_body", False):
            return


async def _unpacked(body: bytes, packing: str, most: int, thread: Executor) -> bytes:
    unpacker = zlib.decompressobj(_WINDOW[packing])
    try:
        found = unpacker.decompress(body, min(most, LARGE))
        if (tail := unpacker.unconsumed_tail) and (more := most - len(found)):
            # Its packed size doesn't tell: a little may unpack to all that is allowed.
            found += await apart(thread, LARGE, lambda: unpacker.decompress(tail, more))
    except zlib.error as error:
        raise HttpError(400, f"the body isn't {packing}: {error}.") from error
    if unpacker.unconsumed_tail:
        raise HttpError(413, f"the request unpacks to more than {most:,} bytes: send fewer images.")
    if not unpacker.eof or unpacker.unused_data:
        raise HttpError(
            400, f"the body isn't {packing}: it ends too early or goes on behind its end."
        )
    return found

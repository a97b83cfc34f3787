"""The process that serves: its socket, its signals, its end."""

import asyncio
import contextlib
import resource
import signal
import socket
from types import FrameType

import uvicorn

from arcvit.core.errors import UserError
from arcvit.serve.http.app import build_app
from arcvit.serve.http.connection import with_limits
from arcvit.serve.http.context import Context

_BACKLOG = 2048
_FLUSH = 5
"""Seconds in which answers that are ready must be taken when the server ends."""
_OWN_FILES = 64


def listen(host: str, port: int) -> socket.socket:
    """A socket at which clients may knock.

    Raises:
        UserError: the address isn't one, or is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"the server can't listen at {host}:{port}: {why}; choose another --host or --port."
        ) from error


def address_of(listener: socket.socket) -> str:
    """Where to find it, for a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(context: Context, listener: socket.socket) -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        0; 1 where requests were dropped at the end.

    Raises:
        UserError: the service couldn't start.
    """
    _allow_files(context.limits.max_connections)
    config = uvicorn.Config(
        build_app(context),
        loop="asyncio",
        http=with_limits(context.limits),
        ws="none",
        lifespan="off",
        # Who asks is who is connected: what a header says is anybody's.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=int(context.limits.idle_timeout) + 1,
        timeout_graceful_shutdown=_FLUSH,
    )
    server = _Server(config, context)
    with contextlib.suppress(KeyboardInterrupt):  # told again while the loop closes: known by then
        asyncio.run(server.until_told(listener))
    return 1 if server.dropped else 0


class _Server(uvicorn.Server):
    """uvicorn, which ends by finishing what was asked, and says how that went."""

    def __init__(self, config: uvicorn.Config, context: Context) -> None:
        super().__init__(config)
        self._context = context
        self.dropped = 0

    async def until_told(self, listener: socket.socket) -> None:
        """Listen at once, so that whoever waits is told so; take requests when ready."""
        serving = asyncio.ensure_future(self.serve(sockets=[listener]))
        starting = asyncio.ensure_future(self._context.service.ready())
        await asyncio.wait({serving, starting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and not starting.cancelled():  # told to end before it was ready
            failed = starting.exception()
            if failed is not None:
                self.should_exit = True
                await serving
                raise failed
            said = await self._said()
            print(f"arcvit: serving {said} at {address_of(listener)}", flush=True)
        await serving
        starting.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Told to end; told twice from the keyboard, to end now.

        uvicorn would raise the signal again after the end, and its exit code would be lost.
        """
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse what is new, finish what is there, and close."""
        drain = asyncio.ensure_future(
            self._context.service.drain(self._context.limits.drain_timeout)
        )
        while not drain.done() and not self.force_exit:
            await asyncio.wait({drain}, timeout=0.1)
        if drain.done():
            self.dropped += drain.result()
        await super().shutdown(sockets)
        self.dropped += self._context.in_flight

    async def _said(self) -> str:
        known = await self._context.service.tasks()
        tasks = [status for status in known if status.version is not None]
        return f"{len(tasks)} task{'s' if len(tasks) != 1 else ''}"


def _allow_files(connections: int) -> None:
    """Let the process open a file a connection, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OWN_FILES
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

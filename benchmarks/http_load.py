"""Ask a server over HTTP, from a process of its own: sockets, asyncio, and nothing that takes long.

    python benchmarks/http_load.py JOB.json

The job says whom to ask, with which requests, and how: ``closed`` asks again as soon as there is an
answer, on so many connections; ``open`` asks at times drawn from a Poisson process, whatever the
answers do. Prints JSON: counts of statuses, answers that were wrong, and seconds of each answer;
of ``open`` from the time that was drawn, so that waiting for a connection counts too.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

Request = tuple[bytes, Any]
"""The bytes of a request, and what its answer must say; None: anything."""


class Connection:
    """A connection that is opened when it is needed."""

    def __init__(self, host: str, port: int) -> None:
        self._at = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._at)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.lower().split(b"\r\n")
        fields = dict(line.split(b": ", 1) for line in lines if line)
        body = await reader.readexactly(int(fields[b"content-length"]))
        if fields.get(b"connection") == b"close":
            self.close()
        return int(first.split()[1]), body

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


class Tally:
    """What came of the requests."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.wrong = 0
        self.seconds: list[float] = []

    async def ask(self, connection: Connection, request: Request, since: float) -> None:
        """Ask once, and count."""
        try:
            status, body = await connection.ask(request[0])
        except (OSError, asyncio.IncompleteReadError):
            connection.close()
            self.statuses["lost"] += 1
            return
        self.statuses[str(status)] += 1
        if status == 200:
            self.seconds.append(time.perf_counter() - since)
            self.wrong += request[1] is not None and said(body) not in request[1]


def said(body: bytes) -> list[Any]:
    """The labels of the best predictions, of all tasks."""
    found = json.loads(body)
    tasks = found["tasks"].values() if "tasks" in found else [found]
    return [prediction["label"] for task in tasks for prediction in task["predictions"]]


async def closed(job: dict[str, Any], requests: list[Request], tally: Tally) -> None:
    """So many connections, each busy until the time is over or all requests are made."""
    draws = random.Random(0)
    until = time.perf_counter() + job["seconds"]
    left = job.get("requests", sys.maxsize)

    async def work() -> None:
        nonlocal left
        connection = Connection(job["host"], job["port"])
        while time.perf_counter() < until and left > 0:
            left -= 1
            await tally.ask(connection, draws.choice(requests), time.perf_counter())
        connection.close()

    await asyncio.gather(*[work() for _ in range(job["connections"])])


async def open_loop(job: dict[str, Any], requests: list[Request], tally: Tally) -> None:
    """Requests at drawn times, each on a connection that is free or new."""
    draws = random.Random(job.get("seed", 0))
    free: list[Connection] = []
    running: set[asyncio.Task[None]] = set()
    start = at = time.perf_counter()

    async def one(when: float, request: Request) -> None:
        connection = free.pop() if free else Connection(job["host"], job["port"])
        await tally.ask(connection, request, when)
        free.append(connection)

    while at < start + job["seconds"]:
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        task = asyncio.ensure_future(one(at, draws.choice(requests)))
        running.add(task)
        task.add_done_callback(running.discard)
        at += draws.expovariate(job["rate"])
    await asyncio.gather(*running)
    for connection in free:
        connection.close()


def post(path: str, body: bytes, host: str, **headers: str) -> bytes:
    """The bytes of a request."""
    named = {"Host": host, "Content-Length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items()]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body


def main() -> None:
    """Do the job and print what came of it."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    requests: list[Request] = []
    for given in job["requests_of"]:
        body = Path(given["file"]).read_bytes()
        content = post(given["path"], body, job["host"], **given.get("headers", {}))
        requests.append((content, given.get("said")))
    tally = Tally()
    start = time.perf_counter()
    asyncio.run({"closed": closed, "open": open_loop}[job["kind"]](job, requests, tally))
    taken = time.perf_counter() - start
    print(
        json.dumps(
            {
                "statuses": tally.statuses,
                "wrong": tally.wrong,
                "seconds": tally.seconds,
                "taken": taken,
            }
        )
    )


if __name__ == "__main__":
    main()

"""Clients that are slow, silent, rude or too many."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from starlette.requests import Request
from starlette.responses import Response

from arcvit.serve.http.limits import Limits

Opening = Callable[..., AbstractContextManager[Any]]
QUICK = Limits(header_timeout=0.1, body_timeout=0.2, idle_timeout=0.3, max_connections=3)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"


async def echo(scope, receive, send):
    request = Request(scope, receive)
    if scope["path"] == "/blind":  # answers without a look at the body
        await Response("seen")(scope, receive, send)
        return
    await Response(await request.body())(scope, receive, send)


def test_a_head_that_is_never_finished(listening: Opening, connected: Opening) -> None:
    with listening(echo, QUICK) as port, connected(port) as client:
        client.send(GET[:-2])
        began = time.monotonic()
        said = client.answer()
        assert said is not None
        assert said.status == 408
        assert said.error == "the head of the request didn't come in 0.1 s."
        assert client.is_closed()
        assert 0.05 < time.monotonic() - began < 5


def test_a_body_that_drips(listening: Opening, connected: Opening) -> None:
    with listening(echo, QUICK) as port, connected(port) as client:
        client.send(POST.replace(b": 4", b": 999"))
        drips = 0
        while not client.has_answer(within=0.05):  # each byte comes in time, the whole doesn't
            client.send(b"a")
            drips += 1
            assert drips < 100
        said = client.answer()
        assert said is not None
        assert said.status == 408
        assert said.error == "the body of the request didn't come in 0.2 s."


def test_a_body_that_nobody_waits_for(listening: Opening, connected: Opening) -> None:
    with listening(echo, QUICK) as port, connected(port) as client:
        client.send(POST.replace(b" / ", b" /blind "))
        said = client.answer()
        assert said is not None
        assert said.body == b"seen"
        assert client.is_closed()


def test_silence(listening: Opening, connected: Opening) -> None:
    with listening(echo, QUICK) as port, connected(port) as new, connected(port) as old:
        old.send(GET)
        assert old.answer() is not None
        assert new.is_closed()
        assert old.is_closed()


def test_what_is_in_time_is_answered_on_one_connection(
    listening: Opening, connected: Opening
) -> None:
    with listening(echo, QUICK) as port, connected(port) as client:
        for _ in range(4):  # together longer than any of the times
            client.send(POST)
            time.sleep(0.1)
            client.send(b"okay")
            said = client.answer()
            assert said is not None
            assert said.body == b"okay"
        client.send((POST + b"oneA" + POST + b"twoB") * 2)
        bodies = [client.answer() for _ in range(4)]
        assert [said and said.body for said in bodies] == [b"oneA", b"twoB"] * 2


def test_what_is_no_http(listening: Opening, connected: Opening) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nA" + b"a" * 70_000):
        with listening(echo, QUICK) as port, connected(port) as client:
            client.send(nonsense)
            said = client.answer()
            assert said is not None
            assert (said.status, said.error) == (400, "Invalid HTTP request received.")


def test_of_too_many_connections_the_longest_idle_one_goes(
    listening: Opening, connected: Opening
) -> None:
    with listening(echo, Limits(max_connections=3)) as port, connected(port) as busy:
        busy.send(POST)
        time.sleep(0.1)
        with connected(port) as idle, connected(port) as later, connected(port) as new:
            assert idle.is_closed()
            for other in (later, new):
                other.send(GET)
                assert other.answer() is not None
            busy.send(b"okay")
            said = busy.answer()
            assert said is not None
            assert said.body == b"okay"


def test_where_all_are_busy_a_new_one_is_told_so(listening: Opening, connected: Opening) -> None:
    with listening(echo, Limits(max_connections=1)) as port, connected(port) as busy:
        busy.send(POST)
        time.sleep(0.1)
        with connected(port) as more:
            said = more.answer()
            assert said is not None
            assert said.status == 503
            assert "as many connections as it can" in said.error

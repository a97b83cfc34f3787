"""``arcvit serve`` as a process: what it prints, how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

import httpx

from arcvit.cli.main import main

pytestmark = pytest.mark.slow


@contextmanager
def process(tiny: Path, adapters: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server, and its address."""
    command = [sys.executable, "-m", "arcvit.cli.main", "serve", "--backbone", str(tiny)]
    given = ["--adapters", str(adapters), "--port", "0", "--device", "cpu", *flags]
    server = subprocess.Popen(
        [*command, *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        found = re.fullmatch(r"arcvit: serving \d tasks? at (http://127\.0\.0\.1:\d+)\n", said)
        assert found, said + (server.stderr.read() if server.stderr else "")
        yield server, found[1]
    finally:
        server.kill()
        server.communicate()


def ask_many(address: str, photo: bytes, count: int) -> tuple[list[threading.Thread], list[Any]]:
    """Requests under way, and what will have come of them."""
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(
                httpx.post(f"{address}/v1/tasks/fruit/predict", content=photo).status_code
            )
        except httpx.HTTPError as error:
            answers.append(error)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


def test_what_was_asked_is_finished_at_the_end(
    make_adapter: Callable[..., Path], tiny: Path, photos_as_files: list[bytes], tmp_path: Path
) -> None:
    make_adapter(tmp_path / "fruit")
    # So long do batches wait that the signal comes first.
    with process(tiny, tmp_path, "--max_wait", "0.5", "--log_requests") as (server, address):
        threads, answers = ask_many(address, photos_as_files[0], 4)
        wait_until_in_flight(address, 4)
        server.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        _, log = server.communicate(timeout=20)
    assert answers == [200] * 4
    assert server.returncode == 0
    assert log.count("POST /v1/tasks/fruit/predict 200") == 4
    assert "Traceback" not in log


def test_it_ends_as_well_before_it_listens(tiny: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tokens")
    command = [sys.executable, "-m", "arcvit.cli.main", "serve", f"--backbone={tiny}"]
    given = [f"--adapters={tmp_path}", "--port=0", f"--tokens={tmp_path / 'tokens'}"]
    server = subprocess.Popen([*command, *given], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with (tmp_path / "tokens").open("w"):  # once it waits for them
        server.send_signal(signal.SIGTERM)
        assert server.communicate(timeout=20) == (b"", None)
    assert server.returncode == 0


def test_what_was_dropped_is_told_by_the_exit_code(
    make_adapter: Callable[..., Path], tiny: Path, photos_as_files: list[bytes], tmp_path: Path
) -> None:
    make_adapter(tmp_path / "fruit")
    flags = ["--max_wait", "3", "--drain_timeout", "0.1"]
    with process(tiny, tmp_path, *flags) as (server, address):
        threads, answers = ask_many(address, photos_as_files[0], 2)
        wait_until_in_flight(address, 2)
        server.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        server.communicate(timeout=20)
    assert answers == [503, 503]
    assert server.returncode == 1


def test_a_source_that_is_silent_keeps_nobody_waiting(
    make_adapter: Callable[..., Path], tiny: Path, photos_as_files: list[bytes], tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp")  # of fsspec, for http
    make_adapter(tmp_path / "fruit")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        far = "".join(f"  far-{k}: http://127.0.0.1:{port}/far\n" for k in range(5))
        (tmp_path / "adapters.yaml").write_text(f"sources:\n{far}")
        with process(tiny, tmp_path) as (server, address):
            for k in range(5):
                url = f"{address}/v1/tasks/far-{k}/predict?timeout=0.1"
                assert httpx.post(url, content=photos_as_files[0]).status_code == 504
            url = f"{address}/v1/tasks/fruit/predict"
            assert httpx.post(url, content=photos_as_files[0], timeout=20).status_code == 200
            server.send_signal(signal.SIGTERM)
            _, log = server.communicate(timeout=20)
    assert server.returncode == 0
    assert "Traceback" not in log


def test_a_wrong_backbone_ends_it_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["serve", "--port", "0", "--device", "cpu", "--adapters", str(tmp_path)]
    assert main([*command, "--backbone", str(tmp_path / "nowhere")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("arcvit: ")
    assert "nowhere" in said.err


def wait_until_in_flight(address: str, count: int) -> None:
    """Until so many requests are there, the one that asks besides."""
    for _ in range(200):
        text = httpx.get(f"{address}/metrics").text
        if f"arcvit_requests_in_flight {count + 1}.0" in text:
            return
    pytest.fail("the requests didn't come")

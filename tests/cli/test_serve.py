"""``arcvit serve``: what is told before anything is loaded."""

import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from arcvit.cli.main import main

GIVEN = ["serve", "--backbone", "demo", "--adapters", "adapters"]
needs_extra = pytest.mark.skipif(
    importlib.util.find_spec("starlette") is None, reason="needs the extra serve"
)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.skipif(importlib.util.find_spec("starlette") is not None, reason="it is installed")
def test_the_extra_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(GIVEN) == 2
    assert "run pip install 'arcvit[serve]'" in capsys.readouterr().err


@needs_extra
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--port", "70000"], "--port 70000 is none: expected 0 to 65535"),
        (["--max_batch", "many"], "--max_batch is 'many': expected a whole number"),
        (["--max_images", "0"], "max_images is 0: expected a whole number at least 1"),
        (["--header_timeout", "-1"], "header_timeout is -1.0: expected a number above 0"),
        (["--tokens", "nowhere"], "--tokens 'nowhere' can't be read: No such file"),
        (["--host", "300.0.0.1"], "can't listen at 300.0.0.1:8000"),
        (["--max_bach", "3"], "max_batch"),
        (["--replicas", "2"], "--replicas, --replica_cpus and --replica_gpus need --ray."),
    ],
)
def test_a_wrong_configuration(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*GIVEN, *flags]) == 2
    assert said in capsys.readouterr().err


@needs_extra
@pytest.mark.slow  # it imports Ray
@pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="needs the extra cluster")
def test_no_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--ray", "127.0.0.1:1", "--port", "0"]
    assert main(["serve", "--backbone", "demo", "--adapters", str(tmp_path), *flags]) == 2
    said = capsys.readouterr().err
    assert "--ray '127.0.0.1:1' can't be reached: expected the address of a running" in said


@needs_extra
@pytest.mark.skipif(importlib.util.find_spec("fastapi") is not None, reason="it is installed")
def test_the_cluster_extra_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GIVEN, "--ray"]) == 2
    assert "run pip install 'arcvit[cluster]'" in capsys.readouterr().err


@needs_extra
def test_a_port_that_is_taken(taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GIVEN, "--port", str(taken)]) == 2
    assert f"can't listen at 127.0.0.1:{taken}: Address already in use" in capsys.readouterr().err


@needs_extra
def test_tokens_that_are_too_short_are_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tokens"
    file.write_text("# mine\nsecret\n")
    assert main([*GIVEN, "--tokens", str(file), "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert "token 1 of 1 is too short" in said
    assert "secret" not in said

"""Runs under an address: whole or not there, and a bench whose workers share no disk with it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from arcvit.bench.run_files import BENCH_FILES
from arcvit.bench.store import Store
from arcvit.core.errors import UserError
from arcvit.core.result import RunResult

ADDRESS = "memory://bucket/bench"


@pytest.fixture(autouse=True)
def nothing_there() -> None:
    MemoryFileSystem.store.clear()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("bucket/bench", "expected an address with its protocol"),
        ("bla://bench", "--results bla://bench: Protocol not known: bla"),
    ],
)
def test_no_address(address: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Store(address)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a finished run leaves, as far as a store minds."""
    folder = tmp_path / "made"
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "metrics.jsonl").write_text("{}")
    hints = get_type_hints(RunResult)
    empty = {str: "x", int: 1, float: 1.0}
    values = {
        name: empty.get(hint, {} if "dict" in str(hint) else None) for name, hint in hints.items()
    }
    RunResult(**{**values, "kind": "single", "metric": "accuracy"}).write(folder)
    return folder


def test_a_run_is_whole_or_not_there(run: Path, tmp_path: Path) -> None:
    store, name = Store(ADDRESS), "one/linear/seed-0"
    assert not store.fetch(name, tmp_path / "run")
    store.put(run, name)
    assert next(reversed(MemoryFileSystem.store)).endswith("result.json")
    assert store.fetch(name, tmp_path / "run")
    kept = sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file())
    for path in kept:
        assert (tmp_path / "run" / path).read_bytes() == (run / path).read_bytes()
    assert not list(tmp_path.rglob(".*"))
    system = MemoryFileSystem()
    system.pipe_file(f"/bucket/bench/{name}/result.json", b'{"task"')
    assert not store.fetch(name, tmp_path / "damaged")
    system.rm_file(f"/bucket/bench/{name}/result.json")
    assert not store.fetch(name, tmp_path / "damaged")
    assert not (tmp_path / "damaged").exists()


def test_what_has_finished_is_brought_where_it_is_not(run: Path, tmp_path: Path) -> None:
    store = Store(ADDRESS)
    store.put(run, "one/linear/seed-0")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "suite.json").write_text('{"precision": "fp32"}')
    store.put_files(tmp_path / "here", [tmp_path / "here" / "suite.json"])
    store.fetch_all(tmp_path / "there", BENCH_FILES)
    assert json.loads((tmp_path / "there" / "suite.json").read_text()) == {"precision": "fp32"}
    result = tmp_path / "there" / "one" / "linear" / "seed-0" / "result.json"
    assert result.read_bytes() == (run / "result.json").read_bytes()
    result.write_text("mine")
    store.fetch_all(tmp_path / "there", BENCH_FILES)
    assert result.read_text() == "mine"


def test_what_cannot_be_reached_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(f"file://{tmp_path}/file/bench")
    with pytest.raises(UserError, match=r"--results file://.* can't be used: NotADirectoryError"):
        store.put_files(tmp_path, [tmp_path / "file"])


@pytest.mark.slow
def test_a_bench_goes_on_from_an_address_in_an_empty_folder(
    arcvit: Callable[..., object], photos: Path, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(f"tasks: [{{name: one, path: {photos}, group: first}}]")
    flags = ("--methods=linear,arc", "--arc.r=4", "--seeds=0", "--engine.epochs=2")
    given = [tmp_path / "mine.yaml", f"--backbone={tiny}", *flags, f"--results={ADDRESS}"]
    answer = arcvit("bench", *given, f"--out={tmp_path / 'first'}")
    assert answer.code == 0
    trained = {path: path.read_bytes() for path in (tmp_path / "first").rglob("result.json")}
    assert len(trained) == 8
    assert arcvit("bench", *given, f"--out={tmp_path / 'second'}").out.count("finished before") == 2
    assert trained == {
        tmp_path / "first" / path.relative_to(tmp_path / "second"): path.read_bytes()
        for path in (tmp_path / "second").rglob("result.json")
    }
    assert (tmp_path / "second" / "one" / "data.json").is_file()
    answer = arcvit("bench", *given, "--out=s3://bucket/bench")
    assert answer.code == 2 and "Give the address as --results" in answer.err

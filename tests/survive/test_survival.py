"""A command that is killed at any moment, or finds the disk full, and is given again.

It must leave what an undisturbed one leaves, weights byte by byte. A command runs in a process that
is forked off when everything has been imported, so it starts in no time. Python announces each file
that is opened for writing, made, renamed or removed before it is: there the process ends itself by
SIGKILL, which nothing can catch.
"""

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Three epochs: a checkpoint is written, then a second, then the first one goes.
SHORT = ("--engine.epochs=3", "--engine.batch_size=48", "--engine.precision=fp32", "--arc.r=4")
MEASURED = {
    *("seconds", "seconds_left", "val_seconds", "images_per_second", "peak_memory_mb"),
    "versions",
}
"""What differs between two runs that are the same."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, minus a signal; what it said; its file events."""

    code: int
    said: str
    events: list[str]


def run(command: Sequence[str], folder: Path, *, kill_at: int | None = None) -> Ended:
    """Run a command in a process of its own.

    Args:
        command: as on the command line.
        folder: events count that concern what lies in it.
        kill_at: the event before which it ends, counted from 1; None: it isn't killed.
    """

    def work(told: int) -> int:
        seen = _hear_events(folder, kill_at)
        from arcvit.cli.main import main

        code = main(list(command))
        os.write(told, "\n".join(seen).encode())
        return code

    return in_child(work)


def in_child(work: Callable[[int], int]) -> Ended:
    """Do something in a forked process; it may write its events into what it is given."""
    # What is said fits into a pipe; a file would fall under the limits of some tests.
    (hear, said), (read, told) = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        # Newer Pythons warn of a process with threads: none of ours is needed in the child.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            import torch

            torch.set_num_threads(1)
            for stream in (1, 2):
                os.dup2(said, stream)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            code = work(told)
        except BaseException:
            traceback.print_exc()
            code = 99
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    texts = []
    for write_end, read_end in ((said, hear), (told, read)):
        os.close(write_end)
        with os.fdopen(read_end) as file:
            texts.append(file.read())
    return Ended(code, texts[0], texts[1].splitlines())


def _hear_events(folder: Path, kill_at: int | None) -> list[str]:
    """Note each from now on in this process, which can't be undone."""
    seen: list[str] = []
    inside = f"{folder}{os.sep}"

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS:
            return
        if event == "open" and not (arguments[2] or 0) & _WRITING:
            return
        # A folder is emptied by names alone, relative to its descriptor.
        relative = event in ("os.remove", "os.rmdir") and arguments[1] != -1
        if relative or f"{arguments[0]}{os.sep}".startswith(inside):
            seen.append(f"{event} {os.path.basename(arguments[0])}")
            if len(seen) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hear)
    return seen


def content(folder: Path) -> dict[str, Any]:
    """What lies in a folder, without what was measured: weights byte by byte."""
    return {
        str(file.relative_to(folder)): _plain(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _plain(file: Path) -> Any:
    if file.name == "metrics.jsonl":
        return [_without_times(json.loads(line)) for line in file.read_text().splitlines()]
    return (
        _without_times(json.loads(file.read_bytes()))
        if file.suffix == ".json"
        else (file.read_bytes())
    )


def _without_times(record: Any) -> Any:
    if not isinstance(record, dict):
        return record
    return {key: value for key, value in record.items() if key not in MEASURED}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The files in which two folders differ."""
    return [name for name in sorted({**one, **other}) if one.get(name) != other.get(name)]


def killed_and_resumed(
    command: Sequence[str], folder: Path, expected: dict[str, Any], kill_at: int
) -> str | None:
    """Kill a command at an event, give it again, and compare; None where all is the same."""
    killed = run([*command, f"--out={folder}"], folder, kill_at=kill_at)
    if killed.code != -signal.SIGKILL:
        return f"not killed, but ended with {killed.code}: {killed.said}"
    resumed = run([*command, f"--out={folder}"], folder)
    finished_before = resumed.code == 2 and "already holds a finished run" in resumed.said
    if resumed.code != 0 and not finished_before:
        return f"resumed, it ended with {resumed.code}: {resumed.said}"
    found = differences(content(folder), expected)
    return f"other files: {', '.join(found)}" if found else None


@pytest.fixture(scope="module")
def few_photos(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos of each class and split."""
    folder = tmp_path_factory.mktemp("few") / "colours"
    for photo in sorted(photos.rglob("*_0[01].png")):
        place = folder / photo.relative_to(photos)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(photo, place)
    return folder


@pytest.fixture(scope="module")
def commands(
    few_photos: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """The commands to kill, without their folder; what they import is there when they fork."""
    for module in ("recipe.execute", "recipe.adapter", "bench.work", "bench.run", "cli.bench"):
        importlib.import_module(f"arcvit.{module}")
    suite = tmp_path_factory.mktemp("suite") / "suite.yaml"
    suite.write_text(f"tasks: [{{name: one, path: {few_photos}, group: all}}]\n")
    space = suite.with_name("space.yaml")
    space.write_text("arc: {optim.lr: [0.001, 0.01]}\n")
    given = [*SHORT, f"--backbone={tiny}"]
    bench = ["bench", str(suite), f"--data.root={few_photos.parent}", *given]
    return {
        "train": ["train", f"--data.path={few_photos}", *given, "--quiet"],
        "bench": [*bench, "--methods=linear,arc", "--seeds=0,1", "--search=none"],
        "search": [*bench, "--methods=arc", "--seeds=0", f"--search={space}"],
    }


@pytest.fixture(scope="module")
def undisturbed(
    commands: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[list[str], dict[str, Any]]]:
    """Of a kind of command its file events, and what it leaves; run once."""
    found: dict[str, tuple[list[str], dict[str, Any]]] = {}

    def straight(kind: str) -> tuple[list[str], dict[str, Any]]:
        if kind not in found:
            folder = tmp_path_factory.mktemp("undisturbed") / kind
            ended = run([*commands[kind], f"--out={folder}"], folder)
            assert ended.code == 0, ended.said
            found[kind] = ended.events, content(folder)
        return found[kind]

    return straight


def before_the_second_metrics(events: list[str]) -> list[int]:
    """Between a dot-file and its rename, after the second checkpoint."""
    renames = [event.startswith("os.rename .metrics.jsonl") for event in events]
    return [renames.index(True, renames.index(True) + 1) + 1]


def some(events: list[str]) -> list[int]:
    """Eight points, spread over all."""
    return [round((n + 0.5) * len(events) / 8) for n in range(8)]


def every(events: list[str]) -> list[int]:
    return list(range(1, len(events) + 1))


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("train", before_the_second_metrics),
        *(pytest.param(kind, some, marks=pytest.mark.slow) for kind in ("train", "search")),
        *(
            pytest.param(kind, every, marks=pytest.mark.torture)
            for kind in ("train", "bench", "search")
        ),
    ],
)
def test_killed_at_a_file_event(
    commands: dict[str, list[str]],
    undisturbed: Callable[[str], tuple[list[str], dict[str, Any]]],
    tmp_path: Path,
    kind: str,
    points: Callable[[list[str]], list[int]],
) -> None:
    events, expected = undisturbed(kind)
    killed, wrong = points(events), []
    for point in killed:
        out = tmp_path / str(point)
        found = killed_and_resumed(commands[kind], out, expected, point)
        if found is not None:
            wrong.append(f"event {point}: {found}")
        shutil.rmtree(out, ignore_errors=True)
    same = len(killed) - len(wrong)
    print(f"{kind}: {len(events)} file events, killed at {len(killed)}, {same} ended the same")
    assert wrong == []


@contextlib.contextmanager
def little_room(folder: Path, size: int) -> Iterator[None]:
    """A disk of so many bytes, which has room again afterwards."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a disk of its own")
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,size=100m", str(folder)], check=True)


@contextlib.contextmanager
def short_files(folder: Path, size: int) -> Iterator[None]:
    """No file takes more bytes than this."""
    folder.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


FILE_SIZES = [round(100 * 1.25**step) for step in range(24)]
DISK_SIZES = [4096 * pages for pages in range(1, 25)]


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [
        (short_files, FILE_SIZES[18:19]),
        pytest.param(short_files, FILE_SIZES, marks=pytest.mark.torture),
        pytest.param(little_room, DISK_SIZES, marks=pytest.mark.torture),
    ],
)
def test_a_full_disk(
    commands: dict[str, list[str]],
    undisturbed: Callable[[str], tuple[list[str], dict[str, Any]]],
    tmp_path: Path,
    limit: Callable[[Path, int], contextlib.AbstractContextManager[None]],
    sizes: list[int],
) -> None:
    command, refused = commands["train"], 0
    _, expected = undisturbed("train")
    for size in sizes:
        disk = tmp_path / str(size)
        out = disk / "run"
        with limit(disk, size):
            full = run([*command, f"--out={out}"], disk)
        if full.code:
            refused += 1
            assert (full.code, full.said.count("\n")) == (2, 1), (size, full)
            assert "the same command resumes the run" in full.said, (size, full)
            resumed = run([*command, f"--out={out}"], disk)
            assert resumed.code == 0, (size, resumed)
        assert differences(content(out), expected) == [], size
        if limit is little_room:
            subprocess.run(["umount", str(disk)], check=True)
    print(f"{limit.__name__}: {len(sizes)} sizes, {refused} too small; all ended the same")
    assert refused

"""A folder has one owner; a dead one gives way, one that can't be asked doesn't."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arcvit.core import lock
from arcvit.core.errors import UserError
from arcvit.core.files import write_json
from arcvit.core.lock import LOCK_FILE, break_lock, forget_dead, locked

Owner = dict[str, Any]


def someone(**changes: Any) -> Owner:
    """This process, with changes."""
    return lock._myself() | changes


def a_dead_process() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def owned_by(folder: Path, owner: Owner | str) -> Path:
    folder.mkdir()
    content = owner if isinstance(owner, str) else json.dumps(owner)
    (folder / LOCK_FILE).write_text(content)
    return folder


def test_the_second_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        before = (tmp_path / "run" / LOCK_FILE).read_text()
        with (
            pytest.raises(UserError, match=rf"run is in use by process {os.getpid()} on "),
            locked(tmp_path / "run"),
        ):
            pass
        assert (tmp_path / "run" / LOCK_FILE).read_text() == before


def test_nothing_stays_behind(tmp_path: Path) -> None:
    with locked(tmp_path / "deep" / "run"):
        assert os.listdir(tmp_path / "deep" / "run") == [LOCK_FILE]
    assert os.listdir(tmp_path) == []
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "result").touch()
    assert os.listdir(tmp_path / "run") == ["result"]


@pytest.mark.parametrize(
    "dead",
    [
        lambda: someone(process=a_dead_process()),
        lambda: someone(started="1"),  # the number is another process by now
        lambda: someone(boot="before"),  # the host was started again
    ],
)
def test_a_dead_owner_gives_way(tmp_path: Path, dead: Callable[[], Owner]) -> None:
    folder = owned_by(tmp_path / "run", dead())
    with locked(folder):
        assert json.loads((folder / LOCK_FILE).read_text()) == someone()
        assert os.listdir(folder) == [LOCK_FILE]


@pytest.mark.parametrize(
    "owner",
    [
        lambda: someone(host="elsewhere", process=a_dead_process()),
        lambda: someone(host=f"{lock._host()} pid:[1]", boot="before"),
        lambda: "{",
        lambda: "",
    ],
)
def test_who_cannot_be_asked_is_never_presumed_dead(
    tmp_path: Path, owner: Callable[[], Owner | str]
) -> None:
    folder = owned_by(tmp_path / "run", owner())
    file = folder / LOCK_FILE
    sentence = rf"last seen \d s ago: wait until it ends, choose another --out, or remove {file}"
    with pytest.raises(UserError, match=sentence), locked(folder):
        pass
    assert file.exists()
    break_lock(folder)
    with locked(folder):
        pass


def test_only_the_lock_of_a_dead_owner_is_forgotten(tmp_path: Path) -> None:
    forget_dead(tmp_path)
    for owner, stays in ((someone(started="1"), False), (someone(), True), ({}, True)):
        write_json(tmp_path / LOCK_FILE, owner)
        forget_dead(tmp_path)
        assert (tmp_path / LOCK_FILE).exists() == stays


def test_a_hidden_process_is_not_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = owned_by(tmp_path / "run", someone(process=1, started="7"))
    monkeypatch.setattr(lock, "_started", lambda process: lock._HIDDEN)
    with pytest.raises(UserError, match="in use by process 1 "), locked(folder):
        pass


def test_a_disk_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with locked(tmp_path / "run"):
        assert os.listdir(tmp_path / "run") == [LOCK_FILE]
        with pytest.raises(UserError, match="in use"), locked(tmp_path / "run"):
            pass


@pytest.mark.parametrize("how", ["removed", "taken"])
def test_a_folder_that_is_taken_away(tmp_path: Path, how: str) -> None:
    other = json.dumps(someone(process=1))
    run = tmp_path / "run"
    with (
        pytest.raises(UserError, match="removed or taken over by another"),
        locked(run) as held,
    ):
        held.check()
        (run / LOCK_FILE).unlink()
        if how == "removed":
            run.rmdir()
            (run / "result").write_text("")
        (run / LOCK_FILE).write_text(other)
        held.check()
    # What another process owns is left to it.
    assert not run.exists() or (run / LOCK_FILE).read_text() == other


def test_the_owner_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_HEARTBEAT", 0.001)
    with locked(tmp_path / "run"):
        file = tmp_path / "run" / LOCK_FILE
        os.utime(file, (0, 0))
        deadline = time.monotonic() + 30
        while file.stat().st_mtime < 1:
            assert time.monotonic() < deadline
            time.sleep(0.001)


@pytest.mark.slow
def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    """Processes that all find a dead owner."""
    folder = owned_by(tmp_path / "run", someone(started="1"))
    script = (
        "import sys, time; from pathlib import Path; from arcvit.core.lock import locked\n"
        "with locked(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(folder)]
    pipe = subprocess.PIPE
    several = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(4)
    ]
    codes = []
    try:
        while len(codes) < 3:
            codes = [code for process in several if (code := process.poll()) is not None]
        assert codes == [1, 1, 1]
    finally:
        told = "".join(process.communicate("")[0] for process in several)
    assert told == "mine\n"
    assert not folder.exists()

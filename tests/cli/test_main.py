import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import entry_points, version

import pytest

from arcvit.cli import demo as demo_command
from arcvit.cli.main import COMMANDS

Arcvit = Callable[..., object]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_the_commands(arcvit: Arcvit, arguments: list[str]) -> None:
    answer = arcvit(*arguments)
    assert answer.code == 0
    for command in ("demo", "train", "evaluate", "predict", "merge", "inspect"):
        assert f"  {command} " in answer.out
    assert answer.err == ""


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(arcvit: Arcvit, flag: str) -> None:
    assert arcvit(flag).out == f"arcvit {version('arcvit')}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(
    arcvit: Arcvit, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        arcvit(command, "--help")
    assert stopped.value.code == 0
    assert f"arcvit {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trian"], "there is no command 'trian': expected demo, train"),
        (["trian"], "Did you mean 'train'?"),
        (["predict"], "the following arguments are required: RUN|ADAPTER, IMAGE"),
        (["predict", "run", "a.png", "--topp", "3"], "unrecognized arguments: --topp"),
        (["predict", "run", "a.png", "--topp", "3"], "Did you mean 'top'?"),
        (["predict", "run", "a.png", "--top", "x"], "invalid int value: 'x'"),
        (["merge", "run"], "the following arguments are required: --out"),
        (["demo", "--epochs", "0"], "engine.epochs is 0: expected a whole number at least 1"),
        (["demo", "--seed", "-1"], "seed is -1: expected a whole number at least 0"),
    ],
)
def test_wrong_commands_and_flags(arcvit: Arcvit, arguments: list[str], sentence: str) -> None:
    answer = arcvit(*arguments)
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.startswith("arcvit: ")
    assert answer.err.count("\n") == 1
    assert answer.out == ""


def test_debug_shows_a_traceback(arcvit: Arcvit) -> None:
    with pytest.raises(ValueError, match="there is no command 'trian'"):
        arcvit("trian", "--debug")


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "arcvit: interrupted; the same command resumes the run.\n"),
        (
            OSError(errno.ENOSPC, "No space left", "runs/a"),
            2,
            "arcvit: No space left at runs/a: make room; the same command resumes the run.\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x"),
            2,
            "arcvit: Permission denied at /x: mend that or choose another place;",
        ),
    ],
)
def test_what_ends_a_command(
    arcvit: Arcvit,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    sentence: str,
) -> None:
    def run(argv: list[str]) -> int:
        raise error

    monkeypatch.setattr(demo_command, "run", run)
    answer = arcvit("demo")
    assert answer.code == code
    assert sentence in answer.err


def test_sigterm(arcvit: Arcvit, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = []

    def run(argv: list[str]) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append(True)
        return 0

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(demo_command, "run", run)
    answer = arcvit("demo")
    assert (answer.code, cleaned) == (143, [True])
    assert answer.err == "arcvit: terminated; the same command resumes the run.\n"
    assert signal.getsignal(signal.SIGTERM) is before is signal.SIG_DFL


def test_a_bug_is_not_hidden(arcvit: Arcvit, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str]) -> int:
        raise FileNotFoundError(errno.ENOENT, "No such file", "x")

    monkeypatch.setattr(demo_command, "run", run)
    with pytest.raises(FileNotFoundError):
        arcvit("demo")


def test_a_reader_that_has_gone_is_no_error() -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    command = [sys.executable, "-m", "arcvit.cli.main", "--help"]
    done = subprocess.run(command, stdout=ours, stderr=subprocess.PIPE, text=True)
    os.close(ours)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_entry_point() -> None:
    (script,) = entry_points(group="console_scripts", name="arcvit")
    assert script.value == "arcvit.cli.main:main"


WITHOUT_TORCH = """
import sys
import time
import arcvit
from arcvit.cli.main import main
for arguments in (["--help"], ["--version"], ["nonsense"], ["train", "--method=nonsense"],
                  ["train", "--data.path=p", "--print_config"], ["inspect", "nowhere"]):
    try:
        main(arguments)
    except SystemExit:
        pass
    heavy = [name for name in ("torch", "peft", "timm", "accelerate", "transformers", "matplotlib")
             if name in sys.modules]
    assert not heavy, (arguments, heavy)
"""


def test_help_and_mistakes_need_no_torch() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, capture_output=True)

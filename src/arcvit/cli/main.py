"""``arcvit``: one small module per command, imported when it is called."""

import errno
import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence

from arcvit.cli.launched import check_launch, is_first_to_end, is_lost_process, leave
from arcvit.cli.sigterm import Terminated, sigterm_interrupts
from arcvit.core.allocator import keep_freed_memory
from arcvit.core.errors import UserError, nearest
from arcvit.core.launch import rank
from arcvit.core.shown import plain
from arcvit.core.waiting import wait_passively

COMMANDS = {
    "demo": "teach two bundled tasks to the bundled backbone and show what came out",
    "train": "learn a task: a small adapter on a frozen backbone",
    "evaluate": "accuracy of a trained run on a split",
    "predict": "class names for images",
    "embed": "features of images, for search, clusters and maps",
    "compare": "runs side by side on the same images, and which images changed",
    "merge": "fold a run into a plain timm checkpoint",
    "export": "write a run for timm, transformers and other software",
    "inspect": "what a run or an adapter is, on what, how big",
    "import": "turn a checkpoint of the authors into an adapter",
    "data": "check, list, make and prepare data sets",
    "bench": "run a suite of tasks with several methods, searched and seeded alike",
    "report": "the page of a run; tables, pictures and a page of a bench",
    "serve": "answer over HTTP for all tasks in a folder of adapters, on one backbone",
    "push": "upload an adapter or an exported folder to the hub, with its model card",
}
_MODULES = {"import": "import_official"}  # a module can't be called import
_USAGE_ERROR = 2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EIO, errno.ESTALE),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, *_FULL),
)
_RESUMED = ("train", "demo", "bench")
_TOLD_TO_END = ("serve",)
"""Ends when it is told to, and no sooner: that is no failure, before it listens either."""
_INTERRUPTED = 130
_TERMINATED = 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code.

    A mistake of the user ends in one sentence on standard error and exit code 2, or in a traceback
    with ``--debug``.
    """
    for stream in (sys.stdout, sys.stderr):
        # A console may know fewer letters than the names of classes and files have.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    argv = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in argv
    argv = [a for a in argv if a != "--debug"]
    argv, plugins = _without_plugins(argv)
    name = argv[0] if argv else "--help"
    resumed = "; the same command resumes the run" if name in _RESUMED else ""
    try:
        try:
            return _run(name, argv[1:], plugins)
        finally:
            sys.stdout.flush()  # while a reader that has gone can still be forgiven
    except UserError as error:
        if debug:
            raise
        if is_first_to_end():
            print(f"arcvit: {plain(error)}", file=sys.stderr)
        return _USAGE_ERROR
    except KeyboardInterrupt as error:
        if name in _TOLD_TO_END:
            return 0
        terminated = isinstance(error, Terminated)
        if rank() == 0 and is_first_to_end():
            said = "terminated" if terminated else "interrupted"
            print(f"arcvit: {said}{resumed}.", file=sys.stderr)
        return _TERMINATED if terminated else _INTERRUPTED
    except RuntimeError as error:
        if debug or not is_lost_process(error):
            raise
        if is_first_to_end():
            said = "another process of this command has ended, as its launcher tells"
            print(f"arcvit: {said}{resumed}.", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if debug or error.errno not in _DISK:
            raise
        where = f" at {plain(error.filename)}" if error.filename else ""
        remedy = "make room" if error.errno in _FULL else "mend that or choose another place"
        print(f"arcvit: {error.strerror}{where}: {remedy}{resumed}.", file=sys.stderr)
        return _USAGE_ERROR


def _run(name: str, rest: list[str], plugins: list[str]) -> int:
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name in ("-V", "--version"):
        from importlib.metadata import version

        print(f"arcvit {version('arcvit')}")
        return 0
    if name not in COMMANDS:
        raise UserError(
            f"there is no command {name!r}: expected {', '.join(COMMANDS)}."
            + nearest(name, COMMANDS)
        )
    wait_passively()
    if plugins:
        from arcvit.methods.table import plug_in

        for target in plugins:
            plug_in(target)
    check_launch(name)
    keep_freed_memory()
    # What is wrong with an image is said in our own words, or doesn't matter.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with sigterm_interrupts():
        command = importlib.import_module(f"arcvit.cli.{_MODULES.get(name, name)}")
        code = int(command.run(rest) or 0)
        leave()
        return code


def _without_plugins(argv: list[str]) -> tuple[list[str], list[str]]:
    """The arguments without ``--plugin``, which every command takes, and what it names."""
    rest, plugins, given = [], [], iter(argv)
    for argument in given:
        flag, equals, target = argument.partition("=")
        if flag == "--plugin":
            plugins.append(target if equals else next(given, ""))
        else:
            rest.append(argument)
    return rest, plugins


def _help() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    return (
        "usage: arcvit COMMAND [OPTIONS]\n\n"
        "Adapt one pretrained vision transformer to many small image tasks with ARC adapters.\n\n"
        f"commands:\n{commands}\n\n"
        "arcvit COMMAND --help says what a command takes. --debug shows a traceback instead of a\n"
        "sentence when something is wrong; --version prints the version. --plugin\n"
        "package.module:SPEC brings in a method from outside arcvit."
    )


if __name__ == "__main__":
    sys.exit(main())

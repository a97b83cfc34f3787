"""Seconds until the command line and the package are there, in fresh processes.

    python benchmarks/startup.py --repeats 11

Interleaved: ``python -c pass`` (the interpreter alone), ``python -c "import arcvit"``, ``arcvit
--help``, ``arcvit train --help``, and ``python -c "import torch"`` for comparison. One round warms
up the disk's cache. Prints medians with their spread and whether a command imported torch; writes
JSON with --out.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable

from interleaved import add_options, measure, report, write

COMMANDS: dict[str, list[str]] = {
    "python -c pass": ["-c", "pass"],
    "import arcvit": ["-c", "import arcvit"],
    "arcvit --help": ["-m", "arcvit.cli.main", "--help"],
    "arcvit train --help": ["-m", "arcvit.cli.main", "train", "--help"],
    "import torch": ["-c", "import torch"],
}
LIMITS = {"import arcvit": 0.3, "arcvit --help": 0.5}
"""Seconds that these may take."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, repeats=11)
    options = parser.parse_args()
    times = measure({name: _runner(a) for name, a in COMMANDS.items()}, options.repeats)
    report("seconds of a fresh process", times, " s")
    for name, limit in LIMITS.items():
        loads = "imports" if _imports_torch(COMMANDS[name]) else "doesn't import"
        print(f"  {name}: at most {limit} s asked for; it {loads} torch")
    write(options.out, {"seconds": times, "limits": LIMITS})


def _runner(arguments: list[str]) -> Callable[[], object]:
    def run() -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    return run


def _imports_torch(arguments: list[str]) -> bool:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    return "torch" in imported


if __name__ == "__main__":
    main()

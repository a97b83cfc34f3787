"""``arcvit data``: check, list, make and prepare data sets, and what is kept of them."""

import importlib

from arcvit.core.errors import UserError, nearest

COMMANDS = {
    "check": "recognise a task's layout and look for what would spoil a result",
    "suspects": "labels to look at again, and images that are there twice",
    "next": "which photos without labels to label next",
    "list": "the benchmark tasks: names, classes, images",
    "make": "generate tasks offline",
    "cache": "list what is kept of decoded images, remove what wasn't used",
    "prepare": "build a task in the VTAB-1k layout from its source",
}


def run(argv: list[str]) -> int:
    """Hand over to the module of the command."""
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        commands = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
        print(f"usage: arcvit data COMMAND [OPTIONS]\n\ncommands:\n{commands}")
        if argv:
            raise SystemExit(0)  # as argparse does after --help
        return 0
    name, rest = argv[0], argv[1:]
    if name not in COMMANDS:
        raise UserError(
            f"there is no command 'data {name}': expected {', '.join(COMMANDS)}."
            f"{nearest(name, COMMANDS)}"
        )
    return int(importlib.import_module(f"arcvit.cli.data_{name}").run(rest))

"""Parsers of the commands that take no recipe."""

import argparse
from typing import NoReturn

from arcvit.core.errors import UserError, nearest


class CommandParser(argparse.ArgumentParser):
    """argparse, with errors as :class:`UserError` and the nearest known flag."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong as a :class:`UserError`."""
        hint = ""
        if message.startswith("unrecognized arguments: "):
            flag = message.removeprefix("unrecognized arguments: ").split()[0].split("=")[0]
            options = [option for action in self._actions for option in action.option_strings]
            # Dashes would make all flags alike.
            hint = nearest(flag.lstrip("-"), [option.lstrip("-") for option in options])
        raise UserError(f"{message}.{hint or f' {self.prog} --help says what is expected.'}")


def command_parser(command: str, description: str) -> CommandParser:
    """A parser for ``arcvit COMMAND``."""
    return CommandParser(prog=f"arcvit {command}", description=description, allow_abbrev=False)

"""Parsers of the commands that take no recipe."""

import argparse
from typing import NoReturn

from arcvit.core.errors import UserError, nearest


class CommandParser(argparse.ArgumentParser):
    """argparse, with errors as :class:`UserError` and the nearest known flag.

    Attributes:
        recipe: whether the command takes the flags of a recipe too: its help shows them.
    """

    recipe = False

    def format_help(self) -> str:
        """The command's own flags, then those of a recipe."""
        own = super().format_help()
        if not self.recipe:
            return own
        from arcvit.recipe.help import recipe_help

        return f"{own}\n{recipe_help()}"

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong as a :class:`UserError`."""
        hint = ""
        if message.startswith("unrecognized arguments: "):
            flag = message.removeprefix("unrecognized arguments: ").split()[0].split("=")[0]
            options = [option for action in self._actions for option in action.option_strings]
            # Dashes would make all flags alike.
            hint = nearest(flag.lstrip("-"), [option.lstrip("-") for option in options])
        raise UserError(f"{message}.{hint or f' {self.prog} --help says what is expected.'}")


def apart_from_data(argv: list[str]) -> tuple[list[str], list[str]]:
    """A command's own arguments, and ``--data.NAME VALUE``, which are those of a recipe."""
    own: list[str] = []
    data: list[str] = []
    rest = iter(argv)
    for argument in rest:
        is_data = argument.startswith("--data.")
        (data if is_data else own).append(argument)
        if is_data and "=" not in argument:
            data += [value for value in [next(rest, None)] if value is not None]
    return own, data


def command_parser(command: str, description: str, *, recipe: bool = False) -> CommandParser:
    """A parser for ``arcvit COMMAND``; one with a recipe's flags leaves them to be parsed."""
    parser = CommandParser(prog=f"arcvit {command}", description=description, allow_abbrev=False)
    parser.recipe = recipe
    return parser

"""Parsers of the commands: their own arguments, and a recipe's flags beside them."""

import argparse
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from arcvit.core.errors import UserError, nearest


class CommandParser(argparse.ArgumentParser):
    """argparse, with errors as :class:`UserError` and the nearest known flag.

    Attributes:
        often: of a command that takes the flags of a recipe, those that its help shows.
    """

    often: Collection[str] = ()

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


def beside_recipe(
    parser: CommandParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """A command's own arguments, and the flags of a recipe as ``--FLAG=VALUE``.

    argparse would take the value of a flag that it doesn't know for an argument of its own, and so
    the whole flag where its value has a blank in it.
    """
    own = [option for action in parser._actions for option in action.option_strings]
    ours: list[str] = []
    flags: list[str] = []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--") or argument.split("=")[0] in own:
            ours.append(argument)
            continue
        has_value = "=" in argument or argument == "--print_config"
        if not has_value and rest and not rest[0].startswith("--"):
            argument += f"={rest.pop(0)}"
        flags.append(argument)
    options, unknown = parser.parse_known_intermixed_args(ours)
    return options, [*flags, *unknown]


def command_parser(
    command: str, description: str, *, often: Collection[str] | None = None
) -> CommandParser:
    """A parser for ``arcvit COMMAND``.

    Args:
        command: its name.
        description: what it does.
        often: flags of a recipe that its help shows; None: it takes none.
    """
    parser = CommandParser(
        prog=f"arcvit {command}",
        description=description,
        allow_abbrev=False,
        add_help=often is None,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=24, width=100),
    )
    if often is not None:
        parser.often = often
        parser.add_argument(
            *("-h", "--help"),
            nargs="?",
            action=_RecipeHelp,
            metavar="GROUP",
            help="Show this, or the options of a group, and exit.",
        )
        parser.add_argument(
            "--help_all", nargs=0, action=_RecipeHelp, help="Show all options, and exit."
        )
    return parser


class _RecipeHelp(argparse.Action):
    """Prints the help of a command beside a recipe."""

    def __call__(
        self,
        parser: Any,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        from arcvit.recipe.help import recipe_help

        group = "all" if option_string == "--help_all" else values
        if group in (None, "all"):
            parser.print_help()
            print()
        print(recipe_help(group, command=parser.prog, often=parser.often), end="")
        parser.exit()

"""What the commands that ask a trained model have in common: which one it is, and its backbone."""

from arcvit.cli.parser import CommandParser


def add_trained(parser: CommandParser) -> None:
    """Add ``RUN|ADAPTER``, ``--backbone`` and ``--force``."""
    parser.add_argument(
        "run", metavar="RUN|ADAPTER", help="A run or adapter folder, or USER/NAME on the hub."
    )
    parser.add_argument("--backbone", help="Where the backbone lies now, if it has moved.")
    parser.add_argument("--force", action="store_true", help="Allow another backbone's weights.")

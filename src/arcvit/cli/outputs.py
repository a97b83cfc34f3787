"""Files that a command writes: never over what it reads, nor over a folder."""

import os
from collections.abc import Iterable
from pathlib import Path

from arcvit.core.errors import UserError


def spare(inputs: Iterable[str | Path | None], **outputs: str | Path | None) -> None:
    """Refuse to write over a file that is read: somebody's table of labels would be lost.

    Args:
        inputs: what was given to read; what isn't a file, such as a pattern, is passed over.
        outputs: the file of each flag, by its name.

    Raises:
        UserError: names the flag and the file, or the folder that isn't one.
    """
    read = [name for name in inputs if name is not None and os.path.isfile(name)]
    for flag, file in outputs.items():
        if file is not None and os.path.isdir(file):
            raise UserError(f"--{flag} {str(file)!r} is a folder: expected the name of a file.")
        if file is not None and os.path.isfile(file):
            for name in read:
                if os.path.samefile(name, file):
                    raise UserError(
                        f"--{flag} {str(file)!r} would be written over what is read: expected the"
                        " name of another file."
                    )

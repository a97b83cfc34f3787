"""A run in the place of another: the old one stays until the new one stands."""

import dataclasses
import shutil
from contextlib import nullcontext

from rich.console import Console

from arcvit.core.errors import UserError
from arcvit.core.files import is_leftover, put_in_place
from arcvit.core.launch import rank
from arcvit.core.lock import LOCK_FILE, locked
from arcvit.core.result import RunResult, read_result
from arcvit.recipe.execute import execute
from arcvit.recipe.run import RECIPE_FILE, Run


def overwrite(run: Run, console: Console, *, quiet: bool = False) -> RunResult:
    """Train beside the run that lies in the folder, in ``FOLDER.new``, and put it in its place.

    Whatever ends the training, the old run is there and whole; the same command goes on with the
    new one. In a folder that holds no run this is ``execute``.

    Raises:
        UserError: the folder holds something else than a run; or as ``execute``.
    """
    folder = run.folder
    held = folder.iterdir() if folder.is_dir() else ()
    if all(path.name == LOCK_FILE or is_leftover(path) for path in held):
        return execute(run, console, quiet=quiet)
    if not (folder / RECIPE_FILE).is_file():
        raise UserError(f"--overwrite: {str(folder)!r} holds other files, expected a run.")
    new = dataclasses.replace(run, folder=folder.with_name(f"{folder.name}.new"))
    # Nobody resumes or replaces the old one meanwhile.
    with locked(folder) if rank() == 0 else nullcontext():
        if new.is_finished and new.differing_keys() and rank() == 0:
            shutil.rmtree(new.folder)
        # A kill may have come when only the renaming was left.
        result = read_result(new.folder) if new.is_finished else execute(new, console, quiet=quiet)
        if rank() == 0:
            put_in_place(new.folder, folder)
    return result

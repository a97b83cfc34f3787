"""Where a run goes when nobody says: a name that no other run has."""

import re
from itertools import count
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import RECIPE_FILE, Run


def run_name(recipe: Recipe) -> str:
    """``TASK-METHOD-BACKBONE``."""
    task = Path(recipe.data.path).expanduser().resolve().stem
    backbone = re.sub(r"\W+", "_", recipe.backbone.rstrip("/").rpartition("/")[2])
    return f"{task}-{recipe.method}-{backbone}"


def run_folder(recipe: Recipe, root: Path) -> Path:
    """The first of ``NAME``, ``NAME-2``, ``NAME-3``, ... that is free, or holds this very run.

    An unfinished run of the same recipe is resumed; a finished one stays as it is.
    """
    name = run_name(recipe)
    tried = (root / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(folder for folder in tried if _is_free(Run(recipe, folder)))


def _is_free(run: Run) -> bool:
    if not run.folder.exists():
        return True  # be it that nothing can be made here: that has a sentence of its own
    try:
        run.check_free()
        # Another command may have begun here just now, and not be an epoch old.
        return not (run.folder / RECIPE_FILE).is_file() or not run.differing_keys()
    except UserError:
        return False

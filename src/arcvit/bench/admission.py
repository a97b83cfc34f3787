"""Whether a task's data can give a result: looked through by content once, the same ever after.

What was found is left in ``data.json``: the counts, the warnings that the report repeats, and a
fingerprint, so that runs on other images or labels never stand in the same row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcvit.bench.run_files import DATA_FILE
from arcvit.bench.suite import SuiteTask
from arcvit.core.errors import UserError
from arcvit.core.files import read_json
from arcvit.core.result import RESULT_FILE
from arcvit.data.contents import contents_of
from arcvit.recipe.look import look_through
from arcvit.recipe.prepare import open_recipe_task
from arcvit.recipe.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a task before a look at its images.

    Attributes:
        fingerprint: of the images and labels that were looked at before; None: none were.
        trained: whether runs have finished on them.
    """

    fingerprint: str | None
    trained: bool


def known_data(folder: Path) -> Known:
    """What the folder of a task's runs tells.

    Raises:
        UserError: what it tells is damaged.
    """
    file = folder / DATA_FILE
    return Known(
        fingerprint=read_json(file).get("fingerprint") if file.is_file() else None,
        trained=any(folder.rglob(RESULT_FILE)),
    )


def admit(
    task: SuiteTask, recipe: Recipe, known: Known, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """Refuse a task whose result would be wrong, and say loudly what may spoil a comparison.

    Every image is decoded once, before the first run of the task, and not again.

    Args:
        task: the task.
        recipe: a recipe of it: where it lies and how it is opened.
        known: what was found before.
        say: told what was looked at, and warnings.

    Returns:
        What belongs into ``data.json``; None: what is in it still holds.

    Raises:
        UserError: something ``arcvit data check`` says would spoil a result, or the data have
            changed since the earlier runs.
    """
    opened = open_recipe_task(recipe)
    fingerprint = contents_of(opened).fingerprint
    if known.fingerprint == fingerprint:
        return None
    if known.fingerprint is not None and known.trained:
        raise UserError(
            f"{recipe.data.path} isn't what the earlier runs of {task.name} were trained and"
            " measured on: choose another --out, or bring the images and lists of then back."
        )
    counts = {name: len(split) for name, split in opened.splits.items()}
    say(f"{task.name}: {sum(counts.values()):,} images looked through")
    warnings = look_through(
        recipe.data,
        lambda line: say(f"{task.name}: {line}"),
        kind=recipe.task,
        benchmark=task.record,
        needs_splits=True,
    )
    return {"counts": counts, "warnings": warnings, "fingerprint": fingerprint}

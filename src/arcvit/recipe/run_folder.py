"""A run's folder: what lies in it, and whether a run may write there."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.files import settle
from arcvit.core.metrics import METRICS_FILE
from arcvit.core.result import is_finished
from arcvit.engine.tracking import TENSORBOARD_FOLDER
from arcvit.recipe.adapter import ADAPTER_FOLDER
from arcvit.recipe.parser import read_recipe
from arcvit.recipe.recipe import Recipe

RECIPE_FILE = "recipe.yaml"
PREDICTIONS_FILE = "predictions.json"
PROFILE_FILE = "profile.json"
CHECKPOINT_FOLDER = "checkpoint"


def check_run_folder(run: Path, recipe: Recipe) -> None:
    """Refuse a folder that isn't free for this recipe. Nothing is changed.

    Raises:
        UserError: it holds a finished run, an unfinished run of another recipe, or other files; or
            it can't be written.
    """
    if is_finished(run):
        raise UserError(
            f"{str(run)!r} already holds a finished run: choose another --out or remove it."
        )
    _check_writable(run)
    if not run.is_dir() or not any(run.iterdir()):
        return
    if not (run / RECIPE_FILE).is_file():
        raise UserError(
            f"--out {str(run)!r} holds other files: expected a new folder or an unfinished run."
        )
    differing = differing_keys(run, recipe) if _has_epochs(run) else []
    if differing:
        raise UserError(
            f"{str(run)!r} holds an unfinished run of another recipe (it differs in"
            f" {', '.join(differing)}): choose another --out, remove it, or give the same settings"
            " to resume it."
        )


def differing_keys(run: Path, recipe: Recipe) -> list[str]:
    """Keys in which the recipe of a run differs from another."""
    earlier, now = flat(read_recipe(run / RECIPE_FILE)), flat(recipe)
    return [key for key in now if now[key] != earlier[key]]


def clean_up(run: Path) -> None:
    """Make a killed run ready to be resumed; one that finished no epoch leaves nothing."""
    for name in (RECIPE_FILE, METRICS_FILE, CHECKPOINT_FOLDER, ADAPTER_FOLDER):
        settle(run / name)
    if _has_epochs(run) or not run.is_dir():
        return
    (run / RECIPE_FILE).unlink(missing_ok=True)
    shutil.rmtree(run / TENSORBOARD_FOLDER, ignore_errors=True)
    if not any(run.iterdir()):
        run.rmdir()


def flat(recipe: Recipe) -> dict[str, Any]:
    """A recipe as ``{"optim.lr": 0.01}``, lists as JSON."""
    values: dict[str, Any] = {}
    for key, value in dataclasses.asdict(recipe).items():
        inner = value if isinstance(value, dict) else {"": value}
        for name, leaf in inner.items():
            plain = leaf is None or isinstance(leaf, (int, float, str))
            values[f"{key}.{name}".rstrip(".")] = leaf if plain else json.dumps(leaf)
    return values


def _has_epochs(run: Path) -> bool:
    return (run / METRICS_FILE).is_file() or (run / CHECKPOINT_FOLDER).is_dir()


def _check_writable(run: Path) -> None:
    nearest = next(path for path in (run.absolute(), *run.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise UserError(
            f"--out {str(run)!r}: {nearest} is a file, expected a folder or a new name."
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"--out {str(run)!r}: {nearest} can't be written: choose another folder.")

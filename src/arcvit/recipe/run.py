"""A run: a recipe and the folder it leaves, and what lies in that folder."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.files import is_leftover, settle
from arcvit.core.lock import LOCK_FILE, forget_dead
from arcvit.core.metrics import METRICS_FILE
from arcvit.core.result import is_finished
from arcvit.core.writable import check_writable_folders
from arcvit.engine.checkpoint import checkpoints_in
from arcvit.engine.tracking import TRACKER_FOLDERS
from arcvit.recipe.parser import read_recipe
from arcvit.recipe.recipe import Recipe

RECIPE_FILE = "recipe.yaml"
IMAGES_FILE = "images.json"
PROFILE_FILE = "profile.json"
ADAPTER_FOLDER = "adapter"
CHECKPOINT_FOLDER = "checkpoint"
FOLDS_FOLDER = "folds"
HELD_OUT_FILE = "held_out.safetensors"


@dataclass(frozen=True)
class Run:
    """What is to be done, and where it is left. A value: it pickles, and nothing is opened.

    Attributes:
        recipe: what to do; defaults are filled in.
        folder: the run folder; new, empty, or that of an unfinished run of the same recipe.
        read_test: measure on the test split after training; a search for settings must not.
        is_fold: it is one of the folds of another run, and leaves what its calibration needs.
        resume_anyway: go on although the images have changed, those of before in their splits.
    """

    recipe: Recipe
    folder: Path
    read_test: bool = True
    resume_anyway: bool = False
    is_fold: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", self.recipe.resolved())

    @property
    def adapter(self) -> Path:
        """Where what was learned is left."""
        return self.folder / ADAPTER_FOLDER

    @property
    def checkpoint(self) -> Path:
        """What an unfinished run is resumed from."""
        return self.folder / CHECKPOINT_FOLDER

    @property
    def images(self) -> Path:
        """Which images it is about, and the splits they are in."""
        return self.folder / IMAGES_FILE

    @property
    def folds(self) -> Path:
        """Where its folds lie, each a run."""
        return self.folder / FOLDS_FOLDER

    @property
    def held_out(self) -> Path:
        """What a fold leaves for the calibration."""
        return self.folder / HELD_OUT_FILE

    @property
    def is_finished(self) -> bool:
        """Whether the folder holds a finished run."""
        return is_finished(self.folder)

    def check_free(self) -> None:
        """Refuse a folder that isn't free for this recipe. Nothing is changed.

        Raises:
            UserError: it holds a finished run, an unfinished run of another recipe, or other
                files; or it can't be written.
        """
        folder = self.folder
        if self.is_finished:
            raise UserError(
                f"{str(folder)!r} already holds a finished run: choose another --out, replace it"
                f" with --overwrite, or go on from it elsewhere with --init_from {folder}."
            )
        check_writable_folders(out=folder)
        held = list(folder.iterdir()) if folder.is_dir() else []
        if all(path.name == LOCK_FILE or is_leftover(path) for path in held):
            return
        if not (folder / RECIPE_FILE).is_file():
            raise UserError(
                f"--out {str(folder)!r} holds other files: expected a new folder or an unfinished"
                " run."
            )
        differing = self.differing_keys() if self._has_epochs() else []
        if differing:
            raise UserError(
                f"{str(folder)!r} holds an unfinished run of another recipe (it differs in"
                f" {', '.join(differing)}): choose another --out, replace it with"
                " --overwrite, or give the same settings to resume it."
            )

    def check_same(self) -> None:
        """Refuse a finished run of another recipe: its figures would be mixed with these.

        Raises:
            UserError: names the settings that differ.
        """
        differing = self.differing_keys() if self.is_finished else []
        if differing:
            raise UserError(
                f"{str(self.folder)!r} holds a finished run with other settings (they differ in"
                f" {', '.join(differing)}): choose another --out, or give the same settings."
            )

    def differing_keys(self) -> list[str]:
        """Keys in which the recipe differs from that in the folder."""
        earlier, now = flat(read_recipe(self.folder / RECIPE_FILE)), flat(self.recipe)
        return [k for k in {**earlier, **now} if k not in earlier or now.get(k) != earlier[k]]

    def clean_up(self) -> None:
        """Make a killed run ready to be resumed; one that finished no epoch leaves nothing."""
        for folder in (self.folder, self.checkpoint):
            settle(folder)
        if self._has_epochs():
            return
        for name in (CHECKPOINT_FOLDER, FOLDS_FOLDER, *TRACKER_FOLDERS):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self.images.unlink(missing_ok=True)
        # The last: without it the others would be files that aren't ours.
        (self.folder / RECIPE_FILE).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what a finished run needs no more; a kill may have come before."""
        settle(self.folder)
        forget_dead(self.folder)
        if not self.recipe.engine.keep_checkpoint:
            shutil.rmtree(self.checkpoint, ignore_errors=True)
            shutil.rmtree(self.folds, ignore_errors=True)

    @property
    def has_folds(self) -> bool:
        """Whether one of its folds has finished an epoch."""
        folders = self.folds.iterdir() if self.folds.is_dir() else ()
        return any(
            (fold / METRICS_FILE).is_file() or checkpoints_in(fold / CHECKPOINT_FOLDER)
            for fold in folders
        )

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint, be it damaged."""
        return bool(checkpoints_in(self.checkpoint))

    def _has_epochs(self) -> bool:
        return (self.folder / METRICS_FILE).is_file() or self.has_checkpoint or self.has_folds


def flat(recipe: Recipe) -> dict[str, Any]:
    """A recipe as ``{"optim.lr": 0.01}``, lists as JSON."""
    values: dict[str, Any] = {}
    for key, value in recipe.to_dict().items():
        inner = value if isinstance(value, dict) else {"": value}
        for name, leaf in inner.items():
            plain = leaf is None or isinstance(leaf, (int, float, str))
            values[f"{key}.{name}".rstrip(".")] = leaf if plain else json.dumps(leaf)
    return values

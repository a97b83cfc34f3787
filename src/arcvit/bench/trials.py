"""The recipe of each trial of a bench. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from arcvit.bench.suite import Suite, SuiteTask
from arcvit.core.errors import UserError
from arcvit.recipe.library import is_shipped, merged, recipe_values
from arcvit.recipe.parser import parse_values
from arcvit.recipe.recipe import Recipe
from arcvit.sweep.space import Settings, nested

ARC_METHODS = ("arc", "arc_att")
_OURS = ("--data.path", "--method", "--seed", "--data.fit_on", "--config")
_NOT_SEARCHED = (*_OURS, "--engine.validate_every")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a bench does.

    Attributes:
        suite: the tasks.
        methods: the methods, in the order of the table.
        seeds: seeds of the final runs; the first one is that of the search.
        space: settings to try, by method; None: no search.
        recipe: a recipe in place of the suite's own; None: the suite's.
        overrides: flags of a recipe, for all runs.
    """

    suite: Suite
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    space: Mapping[str, Sequence[Settings]] | None
    recipe: str | None
    overrides: tuple[str, ...]

    def __post_init__(self) -> None:
        base = self.recipe or self.suite.recipe
        if base is not None and not is_shipped(base):
            try:
                parse_values(merged(recipe_values(base), {"data": {"path": "-"}}), (), "bench")
            except UserError as error:
                named = str(error) if base in str(error) else f"recipe {base}: {error}"
                raise UserError(named) from error
        for flag in (override.split("=")[0] for override in self.overrides):
            if flag in _OURS:
                raise UserError(
                    f"{flag} is the bench's own: choose with --tasks, --methods, --seeds, --recipe."
                )
        if self.space is None:
            return
        missing = [method for method in self.methods if method not in self.space]
        if missing:
            raise UserError(f"the search has no settings for {', '.join(missing)}: add them.")
        searched = {f"--{key}" for method in self.methods for key in self.space[method][0]}
        for flag in sorted(searched.intersection(_NOT_SEARCHED)):
            raise UserError(f"the search names {flag[2:]}, which is the bench's own: take it out.")
        for flag in (override.split("=")[0] for override in self.overrides):
            if flag in searched:
                raise UserError(f"{flag} fixes what is searched: give --search none.")

    def recipe_for(
        self,
        task: SuiteTask,
        path: Path | str,
        method: str,
        seed: int,
        settings: Settings = MappingProxyType({}),
    ) -> Recipe:
        """The recipe of a final run.

        The recipe of the task (``vtab/swin_b/cifar``) is taken where there is one. A learning rate
        in it is ARC's: the other methods have their own defaults.

        Args:
            task: the task.
            path: where it lies.
            method: the method.
            seed: the seed.
            settings: what a search has chosen.

        Raises:
            UserError: a setting isn't known or out of range.
        """
        values: dict[str, Any] = {}
        base = self.recipe or self.suite.recipe
        if base is not None:
            own = f"{base}/{task.name}"
            values = recipe_values(own if is_shipped(own) else base)
        optim = values.get("optim")
        if method not in ARC_METHODS and isinstance(optim, dict):
            values["optim"] = {k: v for k, v in optim.items() if k != "lr"}
        data: dict[str, Any] = {"path": str(path), "fit_on": "trainval"}
        if task.preset is not None:
            data["preset"] = task.preset
        if task.record is not None:
            data["val_fraction"] = (
                task.record.val_fraction
            )  # of layouts without a list of their own
        # Trials are short and many: nothing follows them, and few leave a checkpoint.
        quiet = {"engine": {"track": [], "checkpoint_every": 10}}
        values = merged(merged(quiet, values), {"data": data, "method": method, "seed": seed})
        values = merged(values, nested(settings))
        return parse_values(values, self.overrides, "bench")


def split_list(text: str, what: str) -> list[str]:
    """``a,b`` as a and b.

    Raises:
        UserError: nothing is named, or something twice.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items or len(set(items)) != len(items):
        raise UserError(f"--{what} is {text!r}: expected different names with commas between.")
    return items

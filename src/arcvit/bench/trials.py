"""The recipe of each trial of a bench. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from arcvit.bench.rows import BenchRow
from arcvit.bench.suite import Suite, SuiteTask
from arcvit.core.errors import UserError
from arcvit.methods.row import parse_row
from arcvit.methods.spec import MethodSpec
from arcvit.recipe.library import is_shipped, merged, recipe_values
from arcvit.recipe.parser import nested, parse_recipe
from arcvit.recipe.recipe import Recipe
from arcvit.sweep.space import Settings
from arcvit.sweep.tries import Try, tries

_OURS = (
    *("--data.path", "--data.fit_on", "--data.folds", "--data.fold", "--folds"),
    *("--method", "--seed", "--config"),
)
_NOT_SEARCHED = (*_OURS, "--engine.validate_every")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a bench does.

    Attributes:
        suite: the tasks.
        rows: the methods with their settings and backbones, in the order of the table.
        seeds: seeds of the final runs.
        space: settings to try, by the label of a method; None: no search.
        search_seeds: seeds that settings are tried with; none: the first of ``seeds``.
        folds: folds that they are validated on, for all tasks; 0: none, but the validation split;
            None: as each task says.
        notes: what is to be said of the rows below a table.
        extend: how many rates a search may go on to where the best is the lowest or highest.
        settings: settings chosen before, by task and row; None: none.
        recipe: a recipe in place of the suite's own; None: the suite's.
        overrides: flags of a recipe, for all runs.
    """

    suite: Suite
    rows: tuple[BenchRow, ...]
    seeds: tuple[int, ...]
    space: Mapping[str, Sequence[Settings]] | None = None
    search_seeds: tuple[int, ...] = ()
    folds: int | None = None
    extend: int = 0
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Settings]] | None = None
    recipe: str | None = None
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        base = self.recipe or self.suite.recipe
        if base is not None and not is_shipped(base):
            try:
                parse_recipe((), merged(recipe_values(base), {"data": {"path": "-"}}))
            except UserError as error:
                named = str(error) if base in str(error) else f"recipe {base}: {error}"
                raise UserError(named) from error
        flags = [override.split("=")[0] for override in self.overrides]
        ours = [*_OURS, *(["--backbone"] if self.rows[0].name.backbone else [])]
        for flag in flags:
            if flag in ours:
                raise UserError(
                    f"{flag} is the bench's own: choose with --tasks, --methods, --backbones,"
                    " --seeds, --recipe, --search_folds."
                )
        space = self.space or {}
        searched = {f"--{key}" for trials in space.values() for key in trials[0]}
        for flag in sorted(searched.intersection(_NOT_SEARCHED)):
            raise UserError(f"the search names {flag[2:]}, which is the bench's own: take it out.")
        for flag in flags:
            if flag in searched:
                raise UserError(f"{flag} fixes what is searched: give --search none.")

    def trials(self, row: BenchRow) -> Sequence[Settings]:
        """What the search of a row tries; nothing where there is none or nothing to choose."""
        trials = [] if self.space is None else self.space[row.method.label]
        return [] if list(trials) == [{}] else trials

    def tries(self, task: SuiteTask) -> tuple[Try, ...]:
        """The runs that settings are judged by."""
        folds = task.folds if self.folds is None else self.folds or None
        return tries(self.search_seeds or self.seeds[:1], folds)

    def chosen(self, task: SuiteTask, row: BenchRow) -> Settings:
        """What an earlier search chose; nothing where none is asked."""
        return {} if self.settings is None else self.settings[task.name][str(row.name)]

    def written_for(self, task: SuiteTask) -> MethodSpec:
        """The method that the recipe of a task is for."""
        return _method(self._values(task))

    def _values(self, task: SuiteTask) -> dict[str, Any]:
        """Of the recipe of a task, ``vtab/swin_b/cifar`` where there is one."""
        base = self.recipe or self.suite.recipe
        if base is None:
            return {}
        own = f"{base}/{task.name}"
        return recipe_values(own if is_shipped(own) else base)

    def recipe_for(
        self,
        task: SuiteTask,
        path: Path | str,
        row: BenchRow,
        seed: int,
        settings: Settings = MappingProxyType({}),
    ) -> Recipe:
        """The recipe of a final run.

        A learning rate in the recipe of the task is its own method's, and of those that have its
        section and whose parts learn at the same multiples: the others have their own defaults.

        Args:
            task: the task.
            path: where it lies.
            row: method and backbone.
            seed: the seed.
            settings: what a search has chosen.

        Raises:
            UserError: a setting isn't known or out of range.
        """
        values = self._values(task)
        written_for = _method(values)
        optim = values.get("optim")
        spec = row.method.spec
        alike = (spec.section, spec.parts) == (written_for.section, written_for.parts)
        if not alike and isinstance(optim, dict):
            values["optim"] = {k: v for k, v in optim.items() if k != "lr"}
        data: dict[str, Any] = {"path": str(path), "fit_on": "trainval"}
        if task.preset is not None:
            data["preset"] = task.preset
        if task.group_pattern is not None:
            data["group_pattern"] = task.group_pattern
        if task.record is not None:
            # Of layouts without a list of their own.
            data["val_fraction"] = task.record.val_fraction
        # Trials are short and many: nothing follows them, and few leave a checkpoint.
        quiet = {"engine": {"track": [], "checkpoint_every": 10}}
        values = merged(merged(quiet, values), {"data": data, "seed": seed, "task": task.kind})
        if row.name.backbone is not None:
            values["backbone"] = row.name.backbone
        return parse_recipe(self.overrides, merged(values, nested(settings)), row=row.method)


def _method(values: Mapping[str, Any]) -> MethodSpec:
    return parse_row(str(values.get("method", "arc"))).spec

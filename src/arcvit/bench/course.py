"""What a bench has to do as jobs: a task's look, the trials of each row, then its final runs."""

import dataclasses
import itertools
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from arcvit.bench.admission import known_data
from arcvit.bench.entry import Entry
from arcvit.bench.progress import Progress
from arcvit.bench.rows import BenchRow
from arcvit.bench.run_files import DATA_FILE
from arcvit.bench.sizes import Sizes
from arcvit.bench.store import Store
from arcvit.bench.suite import SuiteTask
from arcvit.bench.trials import Bench
from arcvit.bench.work import came_of
from arcvit.core.errors import UserError
from arcvit.core.files import write_json
from arcvit.core.lock import break_lock
from arcvit.engine.config import Precision
from arcvit.executors.job import Call, Job, Outcome
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import Run
from arcvit.sweep.choose import CHOICE_FILE, choose_settings
from arcvit.sweep.edge import beyond
from arcvit.sweep.space import RATE, Settings, label

_WORK = "arcvit.bench.work"
_FORWARD = 1 / 3
"""What measuring an image costs of training on it."""
_UNKNOWN = Sizes(classes=2, train=1000, trainval=1000, test=1000)


class Course:
    """The jobs of a bench. What has finished before is none; what fails takes its row along.

    Args:
        bench: what to run.
        places: where each task lies.
        sizes: of the tasks, where they are known.
        out: folder of the runs.
        precision: what ``auto`` stands for, here and on every worker.
        store: where workers that share no disk with ``out`` put their runs; None: they share it.
    """

    def __init__(
        self,
        bench: Bench,
        places: Mapping[str, Path],
        sizes: Mapping[str, Sizes | None],
        out: Path,
        precision: Precision,
        store: Store | None = None,
    ) -> None:
        self._bench = bench
        self._places = places
        self._out = out
        self._precision = precision
        self._store = store
        self.entries = [
            self._entry(task, row, sizes[task.name] or _UNKNOWN)
            for task in bench.suite.tasks
            for row in bench.rows
        ]
        self._progress: Progress

    def jobs(self, progress: Progress) -> list[Job]:
        """What can be begun with: a look at each task's images."""
        self._progress = progress
        return [job for task in self._bench.suite.tasks for job in self._look(task)]

    def _entry(self, task: SuiteTask, row: BenchRow, sizes: Sizes) -> Entry:
        epochs = self._bench.recipe_for(
            task, self._places[task.name], row, self._bench.seeds[0]
        ).engine.epochs
        trials = list(self._bench.trials(row))
        tries = self._bench.tries(task)
        fitted = sizes.train
        if (folds := tries[0].folds) is not None:
            fitted = sizes.trainval * (folds - 1) // folds
        return Entry(
            task=task,
            row=row,
            folder=self._out / task.name / row.name.folder,
            trials=trials,
            tries=tries,
            trial_cost=epochs * fitted + (sizes.trainval - fitted) * _FORWARD,
            final_cost=epochs * sizes.trainval + sizes.test * _FORWARD,
            extensions_left=self._bench.extend,
            trials_left=len(trials) * len(tries),
            finals_left=len(self._bench.seeds),
        )

    def _of(self, task: SuiteTask) -> list[Entry]:
        return [entry for entry in self.entries if entry.task is task]

    def _look(self, task: SuiteTask) -> list[Job]:
        entries = self._of(task)
        recipe = self._recipe(entries[0], self._bench.seeds[0], {})
        try:
            known = known_data(self._out / task.name)
        except UserError as error:
            return self._looked(task, Outcome(failure=str(error)))
        arguments = {"task": task, "recipe": recipe.to_dict(), "known": known}
        return [
            Job(
                name=f"the look at {task.name}",
                call=Call(function=f"{_WORK}:look", arguments=arguments),
                then=partial(self._looked, task),
                place=task.name,
                path=max(entry.path for entry in entries),
            )
        ]

    def _looked(self, task: SuiteTask, outcome: Outcome) -> list[Job]:
        if outcome.failure is not None:
            self._progress.say(f"{task.name} failed: {outcome.failure}")
            for entry in self._of(task):
                self._fail(entry, outcome.failure, said=True)
            return []
        for line in outcome.value["said"]:
            self._progress.say(line)
        if outcome.value["record"] is not None:
            write_json(self._out / task.name / DATA_FILE, outcome.value["record"])
        return [job for entry in self._of(task) for job in self._begin(entry)]

    def _begin(self, entry: Entry) -> list[Job]:
        settings = self._bench.chosen(entry.task, entry.row)
        if self._bench.settings is not None:
            choice = {"settings": dict(settings), "trials": []}
            write_json(entry.folder / "search" / CHOICE_FILE, choice)
        if not entry.trials:
            return self._finals(entry, settings)
        return self._trials(entry, range(len(entry.trials)))

    def _trials(self, entry: Entry, indices: range) -> list[Job]:
        jobs = []
        for index, (place, attempt) in itertools.product(indices, enumerate(entry.tries)):
            tried = entry.trials[index]
            recipe = attempt.recipe(self._recipe(entry, attempt.seed, tried))
            run = Run(recipe, entry.folder / "search" / attempt.folder(tried), read_test=False)
            then = partial(self._tried, entry, index, place)
            jobs += self._run(entry, run, then, path=entry.path)
        return jobs

    def _finals(self, entry: Entry, settings: Settings) -> list[Job]:
        jobs = []
        for seed in self._bench.seeds:
            recipe = self._recipe(entry, seed, settings)
            run = Run(recipe, entry.folder / f"seed-{seed}")
            chosen = label(settings) or f"lr {recipe.optim.lr:g}"
            then = partial(self._measured, entry, seed, f"{entry.name} seed {seed} {chosen}")
            jobs += self._run(entry, run, then, path=entry.final_cost)
        return jobs

    def _run(self, entry: Entry, run: Run, then: "partial[list[Job]]", *, path: float) -> list[Job]:
        """A run as a job, unless it has finished before."""
        if entry.failure is not None:
            return []
        if run.is_finished:
            try:
                run.check_same()
                run.tidy()
                return then(Outcome(value=came_of(run.folder)))
            except UserError as error:
                self._fail(entry, str(error))
                return []
        break_lock(run.folder)  # this bench's folder is ours: who had it is dead
        name = run.folder.relative_to(self._out).as_posix()
        work = {"recipe": run.recipe.to_dict(), "final": run.read_test}
        cost = entry.final_cost if run.read_test else entry.trial_cost
        self._progress.expected(name, str(entry.row.name), cost, run.recipe.engine.epochs)
        if self._store is None:
            call = Call(function=f"{_WORK}:train", arguments={**work, "folder": str(run.folder)})
        else:
            away = {**work, "address": self._store.address, "name": name}
            call = Call(function=f"{_WORK}:train_away", arguments=away)
            then = partial(self._fetched, self._store, name, then)
        return [
            Job(
                name=name,
                call=call,
                then=then,
                place=entry.task.name,
                path=path,
                lost=partial(break_lock, run.folder),
                wanted=lambda: entry.failure is None,
            )
        ]

    def _fetched(
        self, store: Store, name: str, then: "partial[list[Job]]", outcome: Outcome
    ) -> list[Job]:
        """A run was done elsewhere: it is brought here before anything follows from it."""
        left = outcome.failure is None and "diverged" not in outcome.value
        if left and not store.fetch(name, self._out / name):
            failure = f"{store.address} holds no {name}: expected an address that workers share"
            outcome = dataclasses.replace(outcome, failure=f"{failure} with this command.")
        return then(outcome)

    def _tried(self, entry: Entry, index: int, place: int, outcome: Outcome) -> list[Job]:
        """A run of the search is done; after the last one it is extended, or others can begin."""
        if entry.failure is not None:
            return []
        if outcome.failure is not None:
            return self._fail(entry, outcome.failure)
        settings, value = entry.trials[index], outcome.value
        name = f"{entry.name} search {label(settings)}"
        if len(entry.tries) > 1:
            name += f" {entry.tries[place]}"
        if "diverged" in value:
            line = f"{name}: {value['diverged']}"
            entry.tried[index, place] = None
        elif value["val"] is None:
            return self._fail(
                entry,
                f"{self._places[entry.task.name]} has no validation split to choose on: give"
                " --search none, or let --data.val_fraction hold one out.",
            )
        else:
            line = f"{name}: val {value['val']:.1%}, done ({value['seconds']:.0f} s)"
            entry.tried[index, place] = value["val"]
        entry.trials_left -= 1
        before = not outcome.seconds
        self._progress.finished(
            str(entry.row.name), entry.trial_cost, outcome.seconds, None if before else line
        )
        if entry.trials_left:
            return []
        metric = self._recipe(entry, self._bench.seeds[0], {}).chosen_by
        chosen = choose_settings(entry.outcome, entry.folder / "search", metric=metric)
        if chosen is None:
            return self._fail(entry, f"no settings of the search gave a finite loss: {line}")
        further = beyond(entry.trials, chosen) if self._bench.extend else []
        if further and entry.extensions_left:
            return self._extend(entry, further)
        if further:
            self._progress.say(
                f"{entry.name}: the best rate, {chosen[RATE]:g}, is the lowest or highest of those"
                f" tried after {self._bench.extend} more: --extend_rates may allow others"
            )
        return self._finals(entry, chosen)

    def _extend(self, entry: Entry, further: list[Settings]) -> list[Job]:
        """Try another rate, as the best so far is the lowest or highest."""
        first = len(entry.trials)
        entry.trials += further
        entry.extensions_left -= 1
        runs = len(further) * len(entry.tries)
        entry.trials_left += runs
        self._progress.added(str(entry.row.name), entry.trial_cost, runs)
        return self._trials(entry, range(first, len(entry.trials)))

    def _measured(self, entry: Entry, seed: int, name: str, outcome: Outcome) -> list[Job]:
        """A final run is done."""
        if entry.failure is not None:
            return []
        if outcome.failure is not None:
            return self._fail(entry, outcome.failure)
        value = outcome.value
        if "diverged" in value:
            return self._ruined(entry, seed, value["diverged"])
        test = "-" if value["test"] is None else f"{value['test']:.1%}"
        state = "done" if outcome.seconds else "finished before"
        entry.finals_left -= 1
        self._progress.finished(
            str(entry.row.name),
            entry.final_cost,
            outcome.seconds,
            f"{name}: test {test}, {state} ({value['seconds']:.0f} s)",
        )
        if value["complaint"] is not None:
            self._progress.say(f"warning: {name} {value['complaint']}")
        return []

    def _ruined(self, entry: Entry, seed: int, reason: str) -> list[Job]:
        """A final run's loss wasn't finite: it is counted, and the other seeds go on."""
        entry.ruined[seed] = reason
        entry.finals_left -= 1
        self._progress.dropped(str(entry.row.name), entry.final_cost, 1)
        if len(entry.ruined) == len(self._bench.seeds):
            return self._fail(entry, reason)
        self._progress.say(f"{entry.name} seed {seed} ruined: {reason}")
        return []

    def _fail(self, entry: Entry, reason: str, *, said: bool = False) -> list[Job]:
        """Nothing more is done of a row."""
        entry.failure = reason
        if not said:
            self._progress.say(f"{entry.name} failed: {reason}")
        self._progress.dropped(str(entry.row.name), entry.cost, entry.runs)
        return []

    def _recipe(self, entry: Entry, seed: int, settings: Settings) -> Recipe:
        """A recipe with the precision that all workers share."""
        recipe = self._bench.recipe_for(
            entry.task, self._places[entry.task.name], entry.row, seed, settings
        )
        if recipe.engine.precision != "auto":
            return recipe
        engine = dataclasses.replace(recipe.engine, precision=self._precision)
        return dataclasses.replace(recipe, engine=engine)

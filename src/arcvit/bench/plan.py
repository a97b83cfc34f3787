"""What a bench would do, without data or weights: parameters, memory, and an estimate of time.

Operations are counted; how many a second a device does is measured, or looked up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from arcvit.bench.cost import Cost, cost_of
from arcvit.bench.devices import DEVICES, Device
from arcvit.bench.progress import span
from arcvit.bench.sizes import Sizes, sizes_of
from arcvit.bench.speed import SPEED_FILE, this_machine
from arcvit.bench.trials import Bench
from arcvit.core.errors import UserError
from arcvit.recipe.recipe import Recipe

AROUND = 5.0
"""Seconds assumed around each run, for the model, its first step and what it leaves."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A row of a task.

    Attributes:
        trials: runs of its search.
        seeds: its final runs.
        trial: operations of a run of the search.
        final: operations of a final run.
    """

    trials: int
    seeds: int
    trial: float
    final: float

    def seconds(self, rate: float) -> float:
        """All its runs, one after another, at so many operations a second."""
        operations = self.trials * self.trial + self.seeds * self.final
        return operations / rate + AROUND * (self.trials + self.seeds)

    def path(self, rate: float) -> float:
        """The seconds it takes at least, with any number of workers."""
        runs = [self.trial] * bool(self.trials) + [self.final] * bool(self.seeds)
        return sum(runs) / rate + AROUND * len(runs)


@dataclass(frozen=True)
class Workers:
    """What does the runs.

    Attributes:
        count: runs at once.
        here: devices of this machine that they share.
        elsewhere: devices that they share on machines with one for each.
    """

    count: int = 1
    here: float = 1
    elsewhere: float = 1

    def seconds(self, parts: Sequence[Part], device: Device) -> float:
        """The whole: all runs side by side, or the longest path if that is longer."""
        devices = self.elsewhere if device.name in DEVICES else self.here
        rate = device.rate * min(1.0, devices / self.count)
        whole = sum(part.seconds(rate) for part in parts) / self.count
        return max([whole, *(part.path(rate) for part in parts)])


ONE = Workers()


def print_plan(
    bench: Bench,
    root: Path | None,
    console: Console,
    *,
    device: Device | None = None,
    workers: Workers = ONE,
) -> None:
    """Print the plan of all tasks and rows, and its totals.

    Args:
        bench: the tasks and rows.
        root: folder of the tasks; None: tasks of one's own lie where the suite says.
        console: where to print.
        device: what the times are for; None: this machine's.
        workers: what does the runs.
    """
    here = this_machine(bench.recipe_for(bench.suite.tasks[0], "-", bench.rows[0], 0))
    chosen = device or here
    table = Table("task", "row", "classes", "adapter", "+ head", "runs", "time", "memory")
    parts: list[Part] = []
    runs, unknown = 0, 0
    for task in bench.suite.tasks:
        first = bench.recipe_for(task, task.path, bench.rows[0], bench.seeds[0])
        try:
            sizes = sizes_of(task, root, first)
        except UserError as error:
            table.add_row(task.name, "", "", str(error))
            continue
        for row in bench.rows:
            recipe = bench.recipe_for(task, task.path, row, bench.seeds[0])
            trials = len(bench.trials(row)) * len(bench.tries(task))
            runs += trials + len(bench.seeds)
            try:
                cost = cost_of(recipe)
            except UserError as error:
                table.add_row(task.name, str(row.name), "", str(error))
                continue
            cells = [task.name, str(row.name), "?", f"{cost.adapter:,}", "?"]
            spent = "?"
            if sizes is None:
                unknown += 1
            else:
                cells[2:5] = [
                    f"{sizes.classes:,}",
                    f"{cost.adapter:,}",
                    f"{cost.adapter + (cost.width + 1) * sizes.classes:,}",
                ]
                parts.append(_part(cost, recipe, trials, len(bench.seeds), sizes))
                spent = span(parts[-1].seconds(chosen.rate))
            table.add_row(
                *cells, f"{trials}+{len(bench.seeds)}", spent, f"{cost.memory / 1e9:.1f} GB"
            )
    console.print(table)
    _say(console, f"runs: trials of the search + seeds ({', '.join(map(str, bench.seeds))});")
    _say(console, f"time: one after another on {chosen.name}; memory: of a training step in fp32.")
    if bench.extend:
        _say(
            console,
            f"A search whose best rate is the lowest or highest goes on to {bench.extend} more at"
            " most, which isn't counted.",
        )
    for note in bench.notes:
        _say(console, f"{note}.")
    keys = {key for row in bench.rows for trial in bench.trials(row)[:1] for key in trial}
    others = sorted(key for key in keys if not key.startswith("optim."))
    if others:
        _say(console, f"What a search over {', '.join(others)} changes isn't counted.")
    left = f", {unknown} rows without data not counted" if unknown else ""
    took = span(workers.seconds(parts, chosen))
    at_once = f", {workers.count} at once" if workers.count > 1 else ""
    _say(console, f"\n{runs} runs on {chosen.name}{at_once}: {took} in all{left}.")
    _print_devices(here, parts, workers, console)


def _print_devices(here: Device, parts: list[Part], workers: Workers, console: Console) -> None:
    """The time of the whole by kind of device."""
    ways = {"one run at a time": ONE}
    if workers.count > 1:
        ways[f"{workers.count} at once"] = workers
    table = Table("device", *ways, "speed")
    for device in (here, *(known for known in DEVICES.values() if known is not here)):
        times = [span(way.seconds(parts, device)) for way in ways.values()]
        table.add_row(device.name, *times, device.origin)
    console.print(table)
    _say(
        console,
        f"Counted operations at the speed of each device, and {AROUND:.0f} s around each run;"
        " decoding isn't counted. The speed of this machine is measured once and kept in"
        f" ~/{SPEED_FILE}: remove that to measure it again.",
    )


def _part(cost: Cost, recipe: Recipe, trials: int, seeds: int, sizes: Sizes) -> Part:
    epochs = recipe.engine.epochs
    fixed = cost.adapter == 0 and recipe.data.augment == "none"
    # Features of a linear probe on images that don't change are computed once.
    per_image = cost.forward if fixed else cost.step * epochs
    return Part(
        trials=trials,
        seeds=seeds,
        trial=sizes.train * per_image + (sizes.trainval - sizes.train) * cost.forward,
        final=sizes.trainval * per_image + sizes.test * cost.forward,
    )


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)

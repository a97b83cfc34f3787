"""The paper's table: a row a method and backbone, a column a task, and means. No torch."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePath
from typing import Any

import yaml

from arcvit.bench.collect import Collected, FinishedRun
from arcvit.bench.rows import RowName
from arcvit.data.catalogue import suite_tasks


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A mean in percent over seeds, and the standard deviation where there are several.

    Attributes:
        mean: mean.
        std: sample standard deviation; None: one seed, or published.
    """

    mean: float
    std: float | None = None

    def text(self, plus_minus: str = "±") -> str:
        """As ``72.2 ± 0.3``."""
        return f"{self.mean:.1f}" + ("" if self.std is None else f" {plus_minus} {self.std:.1f}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method's line.

    Attributes:
        label: what it is called in pictures and messages.
        method: the method, with settings of its own.
        backbone: the backbone it is put on.
        published: whether it is from a paper and not run here.
        tasks: accuracy by task, or mAP of several labels an image; None: not known.
        groups: mean of each group; None: not all of its tasks are known.
        mean: mean of all tasks.
        group_mean: mean of the groups' means.
        adapter: mean trained parameters without the head.
        stored: the same of the numbers that an adapter's file holds, trained or not.
        total: trained parameters with the head.
        seconds: time a run in seconds, mean over tasks and seeds.
        memory: largest memory of a run in MB.
        seeds: how many seeds a task has at least.
    """

    label: str
    method: str
    backbone: str
    published: bool
    tasks: dict[str, Cell | None]
    groups: dict[str, Cell | None]
    mean: Cell | None
    group_mean: Cell | None
    adapter: float | None = None
    stored: float | None = None
    total: float | None = None
    seconds: float | None = None
    memory: float | None = None
    seeds: int | None = None


def table_rows(collected: Collected) -> list[Row]:
    """Ours by backbone, behind the published rows of the same backbone and benchmark."""
    ours = [_our_row(collected, name) for name in collected.rows]
    rows = []
    for backbone in dict.fromkeys(row.backbone for row in ours):
        rows += _published_rows(collected, backbone)
        rows += [row for row in ours if row.backbone == backbone]
    return rows


def architecture(backbone: str) -> str:
    """A backbone without the tag of its weights and the folder it lies in."""
    return PurePath(backbone).name.partition(".")[0]


def _our_row(collected: Collected, name: RowName) -> Row:
    runs = {task: collected.runs.get((task, str(name)), ()) for task in collected.tasks}
    every = [run for task in collected.tasks for run in runs[task]]
    by_group, metrics = _by_group(collected), collected.metrics()

    def mean_of(tasks: Sequence[str]) -> Cell | None:
        """None over different metrics: a mean of accuracy and mAP would say nothing."""
        if sum(any(task in own for task in tasks) for own in metrics.values()) > 1:
            return None
        return _over_seeds(runs, lambda seed: _mean([seed[task] for task in tasks]), tasks)

    used = dict.fromkeys(PurePath(run.result.backbone).name for run in every)
    return Row(
        label=str(name),
        method=name.method,
        backbone=", ".join(used) or name.short_backbone,
        published=False,
        tasks={task: mean_of([task]) for task in collected.tasks},
        groups={group: mean_of(tasks) for group, tasks in by_group.items()},
        mean=mean_of(collected.tasks),
        group_mean=None
        if len(metrics) > 1
        else _over_seeds(
            runs,
            lambda seed: _mean([_mean([seed[t] for t in tasks]) for tasks in by_group.values()]),
            collected.tasks,
        ),
        adapter=_mean_or_none([run.result.params["adapter"] for run in every]),
        stored=_mean_or_none([run.stored for run in every]),
        total=_mean_or_none([run.result.params["total"] for run in every]),
        seconds=_mean_or_none([sum(run.result.seconds.values()) for run in every]),
        memory=max(filter(None, (run.result.peak_memory_mb for run in every)), default=None),
        seeds=min((len(found) for found in runs.values() if found), default=0),
    )


def _over_seeds(
    runs: dict[str, tuple[FinishedRun, ...]],
    value: Callable[[dict[str, float]], float],
    tasks: Sequence[str],
) -> Cell | None:
    """A figure computed for each seed that all the tasks have, then its mean and deviation."""
    accuracy = {
        task: {
            run.result.seed: 100 * measured
            for run in runs[task]
            if (measured := run.result.main("test")) is not None
        }
        for task in tasks
    }
    first = next(iter(accuracy.values()))
    seeds = [seed for seed in first if all(seed in a for a in accuracy.values())]
    if not seeds:
        return None
    values = [value({task: accuracy[task][seed] for task in tasks}) for seed in seeds]
    return Cell(mean=_mean(values), std=statistics.stdev(values) if len(values) > 1 else None)


def _published_rows(collected: Collected, backbone: str) -> list[Row]:
    """Means are of the tasks shown: the paper's own where they are all there."""
    if not collected.benchmark:
        return []
    text = (resources.files("arcvit.bench") / "published.yaml").read_text(encoding="utf-8")
    every = [task.name for task in suite_tasks(collected.suite)]
    groups = list(dict.fromkeys(task.group for task in suite_tasks(collected.suite)))
    rows = []
    for entry in yaml.safe_load(text)[collected.suite].get(architecture(backbone), []):
        tasks = dict(zip(every, entry["tasks"] or [None] * len(every), strict=True))
        printed = dict(zip(groups, entry["groups"], strict=True))
        shown = _by_group(collected)
        means = {
            group: printed[group]
            if set(names) == {t.name for t in suite_tasks(collected.suite) if t.group == group}
            else _mean_or_none([tasks[name] for name in names])
            for group, names in shown.items()
        }
        whole = set(collected.tasks) == set(every)
        params = entry["params"]
        rows.append(
            Row(
                label=f"{entry['method']} (published)",
                method=entry["method"],
                backbone=architecture(backbone),
                published=True,
                tasks={task: _cell(tasks.get(task)) for task in collected.tasks},
                groups={group: _cell(mean) for group, mean in means.items()},
                mean=_cell(
                    entry["mean"]
                    if whole
                    else _mean_or_none([tasks[name] for name in collected.tasks])
                ),
                group_mean=_cell(_mean_or_none(list(means.values()))),
                total=None if params is None else 1e6 * params,
            )
        )
    return rows


def _by_group(collected: Collected) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for task, group in collected.groups.items():
        groups.setdefault(group, []).append(task)
    return groups


def _cell(value: Any) -> Cell | None:
    return None if value is None else Cell(mean=float(value))


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    """The mean; None of nothing, or where one isn't known."""
    known = [value for value in values if value is not None]
    return _mean(known) if known and len(known) == len(values) else None


def _mean(values: Sequence[float]) -> float:
    return float(statistics.fmean(values))

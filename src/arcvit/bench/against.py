"""Rows of a bench against one of them, pair by pair: the same task, the same seed. No torch."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from arcvit.bench.collect import Collected, FinishedRun
from arcvit.bench.rows import RowName
from arcvit.core.errors import UserError, nearest


@dataclass(frozen=True, kw_only=True)
class Against:
    """A row beside the reference.

    Attributes:
        label: the row.
        reference: the row it is compared with, on the same backbone.
        trained: mean of the parameters trained outside the head.
        stored: the same of those that an adapter's file holds.
        mean: mean test accuracy in percent, of the tasks both have.
        difference: mean over tasks of the differences in points, each the mean over the seeds that
            both have; None: they have none in common.
        error: standard error of that over tasks; None: of one task there is none.
        seed_error: standard error that the seeds leave of it, on these very tasks; None: a task
            has one seed.
        won: tasks on which the row is ahead.
        lost: tasks on which it is behind.
        tasks: tasks that both have.
        ruined: final runs that came to nothing: their loss wasn't finite, or see ``dull_runs``.
        runs: final runs, those without a result among them.
    """

    label: str
    reference: str
    trained: float
    stored: float
    mean: float
    difference: float | None
    error: float | None
    seed_error: float | None
    won: int
    lost: int
    tasks: int
    ruined: int
    runs: int


def compare(collected: Collected, reference: str) -> list[Against]:
    """Every row with finished runs against the reference, itself among them.

    Args:
        collected: the runs.
        reference: a row's method, as ``lora:r=2``.

    Raises:
        UserError: no row is called so.
    """
    labels = list(dict.fromkeys(row.method for row in collected.rows))
    if reference not in labels:
        raise UserError(
            f"--against {reference!r} isn't a row of this bench: expected one of"
            f" {', '.join(labels)}.{nearest(reference, labels)}"
        )
    metrics = collected.metrics()
    if len(metrics) > 1:
        named = "; ".join(f"{name} of {', '.join(tasks)}" for name, tasks in metrics.items())
        raise UserError(
            f"--against takes a mean of differences over tasks, and these have different metrics"
            f" ({named}): expected a bench whose tasks have one."
        )
    broken, dull = collected.ruined, dull_runs(collected)
    found = []
    for row in collected.rows:
        other = RowName(method=reference, backbone=row.backbone)
        if any((task, str(row)) in collected.runs for task in collected.tasks):
            found.append(_against(collected, row, other, broken[str(row)], dull[str(row)]))
    return found


def dull_runs(collected: Collected) -> Counter[str]:
    """Final runs by row that answer no better than one class for all does.

    Only where another run of the task does better: some tasks can't be learned.
    """
    counts: Counter[str] = Counter()
    for task in collected.tasks:
        runs = [
            (r, run) for r in map(str, collected.rows) for run in collected.runs.get((task, r), ())
        ]
        dull = [row for row, run in runs if _answers_one_class(run)]
        if len(dull) < len(runs):
            counts.update(dull)
    return counts


def _answers_one_class(run: FinishedRun) -> bool:
    accuracy, majority = run.result.test_accuracy, run.result.majority_share
    return accuracy is not None and majority is not None and accuracy <= majority


def _against(collected: Collected, row: RowName, other: RowName, broken: int, dull: int) -> Against:
    runs = [run for task in collected.tasks for run in collected.runs.get((task, str(row)), ())]
    differences: list[list[float]] = []
    means: list[float] = []
    for task in collected.tasks:
        own, theirs = _accuracies(collected, task, row), _accuracies(collected, task, other)
        both = [seed for seed in own if seed in theirs]
        if both:
            differences.append([own[seed] - theirs[seed] for seed in both])
            means.append(statistics.fmean(own[seed] for seed in both))
    by_task = [statistics.fmean(found) for found in differences]
    return Against(
        label=str(row),
        reference=str(other),
        trained=statistics.fmean(run.result.params["adapter"] for run in runs),
        stored=statistics.fmean(run.stored for run in runs),
        mean=statistics.fmean(means) if means else math.nan,
        difference=statistics.fmean(by_task) if by_task else None,
        error=_error(by_task),
        seed_error=_pooled_error(differences),
        won=sum(found > 0 for found in by_task),
        lost=sum(found < 0 for found in by_task),
        tasks=len(by_task),
        ruined=broken + dull,
        runs=len(runs) + broken,
    )


def _accuracies(collected: Collected, task: str, row: RowName) -> dict[int, float]:
    """Test accuracy in percent by seed, or mAP of several labels an image."""
    return {
        run.result.seed: 100 * value
        for run in collected.runs.get((task, str(row)), ())
        if (value := run.result.main("test")) is not None
    }


def _error(values: Sequence[float]) -> float | None:
    """Standard error of a mean."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _pooled_error(differences: Sequence[Sequence[float]]) -> float | None:
    """Standard error of the mean over tasks of means over seeds, the tasks being given."""
    if not differences or min(map(len, differences)) < 2:
        return None
    each = [statistics.variance(found) / len(found) for found in differences]
    return math.sqrt(sum(each)) / len(each)

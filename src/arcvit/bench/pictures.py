"""Pictures of a bench as PNG bytes (matplotlib without a display)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from arcvit.bench.adapter_views import SiteView
from arcvit.bench.collect import Collected
from arcvit.bench.table import Row
from arcvit.core.metrics import read_metrics
from arcvit.pages.palette import (
    BETTER,
    INK,
    SHARE,
    figure,
    line_styles,
    mark_missing,
    named,
    png,
    styled,
)

_PUBLISHED = "sDv^<>pPX*h"


def accuracy_against_size(rows: Iterable[Row], metric: str = "accuracy") -> bytes | None:
    """Mean accuracy over trained parameters with the head; published rows are hollow."""
    every = list(rows)
    points = [(row, row.mean, row.total) for row in every if row.mean and row.total]
    if not points:
        return None
    styles = line_styles([row.label for row in every if not row.published])
    published = [row.label for row, *_ in points if row.published]
    with styled():
        drawn, axes = figure(9.0, 4.6)
        for row, mean, total in points:
            style = styles.get(row.label, {"color": "gray"}) | {"linestyle": "none"}
            if row.published:
                shape = _PUBLISHED[published.index(row.label) % len(_PUBLISHED)]
                style |= {"marker": shape, "markerfacecolor": "none"}
            axes.errorbar(
                total,
                mean.mean,
                yerr=mean.std,
                capsize=3,
                markersize=8,
                label=named(row.label),
                **style,
            )
        axes.set_xscale("log")
        axes.margins(x=0.1, y=0.15)
        axes.set_xlabel("trained parameters, head included")
        axes.set_ylabel(f"mean test {metric if metric == 'mAP' else 'accuracy'} (%)")
        axes.grid(visible=True)
        drawn.legend(loc="outside right upper", fontsize="small")
        return png(drawn)


def difference_to_linear(rows: Sequence[Row]) -> bytes | None:
    """Accuracy on each task, less that of the linear probe on the same backbone: a heat map."""
    ours = [row for row in rows if not row.published]
    probes = {row.backbone: row for row in ours if row.method == "linear"}
    others = [r for r in ours if r.method != "linear" and r.seeds and r.backbone in probes]
    if not others:
        return None
    tasks = list(others[0].tasks)
    grid = np.array([[_difference(r, probes[r.backbone], task) for task in tasks] for r in others])
    if np.isnan(grid).all():
        return None
    limit = float(np.nanmax(np.abs(grid))) or 1.0
    with styled():
        drawn, axes = figure(max(6.0, 2.0 + 0.6 * len(tasks)), 1.7 + 0.38 * len(others))
        image = axes.imshow(grid, aspect="auto", cmap=BETTER, vmin=-limit, vmax=limit)
        mark_missing(axes, grid)
        for (line, column), value in np.ndenumerate(grid):
            if not np.isnan(value):
                colour = "white" if abs(value) > 0.7 * limit else INK
                text = axes.text(column, line, f"{value:+.1f}", color=colour, fontsize="small")
                text.set(ha="center", va="center")
        axes.set_xticks(range(len(tasks)), list(map(named, tasks)), rotation=35, ha="right")
        axes.set_yticks(range(len(others)), [named(row.label) for row in others])
        drawn.colorbar(image, ax=axes, label="points")
        return png(drawn)


def learning_curves(collected: Collected) -> bytes | None:
    """Training accuracy by epoch, a panel a task with runs, of the first seed.

    None where all tasks have several labels an image, whose mAP isn't measured on training images.
    """
    names = [str(row) for row in collected.rows]
    tasks = collected.metrics().get("accuracy", [])
    if not tasks:
        return None
    columns = min(4, len(tasks))
    lines = -(-len(tasks) // columns)
    styles = line_styles(names)
    with styled():
        drawn = Figure(figsize=(max(6.0, 3.2 * columns), 2.6 * lines), layout="constrained")
        FigureCanvasAgg(drawn)
        panels = list(drawn.subplots(lines, columns, squeeze=False).flat)
        for task, axes in zip(tasks, panels[: len(tasks)], strict=True):
            for name in names:
                runs = collected.runs.get((task, name), ())
                epochs = read_metrics(runs[0].folder) if runs else []
                _curve(axes, [epoch.get("train_accuracy") for epoch in epochs], name, styles[name])
            axes.set_title(named(task))
            axes.set_xlabel("epoch", fontsize="small")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(visible=True)
        for axes in panels[len(tasks) :]:
            axes.set_axis_off()
        lines_of = {str(line.get_label()): line for axes in panels for line in axes.lines}
        shown = {named(name): lines_of[named(name)] for name in names if named(name) in lines_of}
        drawn.legend(shown.values(), shown, loc="outside lower center", ncols=5, handlelength=3.2)
        drawn.supylabel("training accuracy (%)", fontsize="small")
        return png(drawn)


def coefficients(sites: Sequence[SiteView]) -> bytes:
    """Re-scaling coefficients by site, each site's sorted by size: a heat map."""
    grid = _padded([sorted(site.coefficients, reverse=True) for site in sites])
    limit = float(np.nanmax(np.abs(grid))) or 1.0
    with styled():
        drawn, axes = figure(7.2, 1.2 + 0.22 * len(sites))
        image = axes.imshow(grid, aspect="auto", cmap=BETTER, vmin=-limit, vmax=limit)
        mark_missing(axes, grid)
        axes.set_yticks(range(len(sites)), [site.name for site in sites], fontsize="small")
        axes.set_xticks([])
        axes.set_xlabel("coefficients of a site, sorted")
        drawn.colorbar(image, ax=axes)
        return png(drawn)


def singular_values(sites: Sequence[SiteView]) -> bytes:
    """Singular values of each site's update ``D diag(c) U``, largest first: a heat map."""
    grid = _padded([sorted(site.singular_values, reverse=True) for site in sites])
    with styled():
        drawn, axes = figure(7.2, 1.2 + 0.22 * len(sites))
        image = axes.imshow(grid, aspect="auto", cmap=SHARE, vmin=0)
        mark_missing(axes, grid)
        axes.set_yticks(range(len(sites)), [site.name for site in sites], fontsize="small")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place + 1:.0f}"))
        axes.set_xlabel("index")
        drawn.colorbar(image, ax=axes, label="singular value")
        return png(drawn)


def confusion(counts: np.ndarray, names: Sequence[str], title: str) -> bytes:
    """A confusion matrix, true classes down, predicted ones across, rows as shares."""
    images = counts.sum(1, keepdims=True)
    shares = np.where(images > 0, counts / np.maximum(images, 1), np.nan)
    # Shares of mistakes are below zero, so that they have the colour of what is wrong.
    signed = np.where(np.eye(len(names), dtype=bool), shares, -shares)
    with styled():
        drawn, axes = figure(6.2, 5.2)
        image = axes.imshow(signed, cmap=BETTER, vmin=-1, vmax=1)
        mark_missing(axes, signed)
        if len(names) <= 30:
            labels = list(map(named, names))
            axes.set_xticks(range(len(names)), labels, rotation=90, fontsize="x-small")
            axes.set_yticks(range(len(names)), labels, fontsize="x-small")
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(named(title))
        bar = drawn.colorbar(image, ax=axes, shrink=0.8, label="of the class: wrong or right")
        bar.formatter = FuncFormatter(lambda share, _: f"{abs(share):.0%}")
        return png(drawn)


def _curve(axes: Axes, accuracies: list[float | None], name: str, style: dict[str, Any]) -> None:
    """A line over the epochs; marks too where there are few."""
    if not accuracies:
        return
    values = [np.nan if value is None else 100 * value for value in accuracies]
    few = len(values) < 6
    axes.plot(
        range(1, len(values) + 1),
        values,
        label=named(name),
        linewidth=1.6,
        markersize=4,
        **style | ({} if few else {"marker": "none"}),
    )


def _padded(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """Rows of different lengths as one grid, NaN where one is at its end."""
    grid = np.full((len(rows), max(map(len, rows))), np.nan)
    for line, values in enumerate(rows):
        grid[line, : len(values)] = values
    return grid


def _difference(row: Row, linear: Row, task: str) -> float:
    ours, theirs = row.tasks[task], linear.tasks[task]
    return float("nan") if ours is None or theirs is None else ours.mean - theirs.mean

"""Pictures of a bench as PNG bytes (matplotlib without a display)."""

import io
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from arcvit.bench.adapter_views import SiteView
from arcvit.bench.collect import Collected
from arcvit.bench.table import Row
from arcvit.core.metrics import read_metrics
from arcvit.core.shown import plain


def accuracy_against_size(rows: Iterable[Row]) -> bytes | None:
    """Mean accuracy over trained parameters with the head; published rows are hollow."""
    points = [(row, row.mean, row.total) for row in rows if row.mean and row.total]
    if not points:
        return None
    figure, axes = _figure(8.4, 4.4)
    colours = _colours([row.label for row, *_ in points if not row.published])
    markers = itertools.cycle("sDv^<>pPX*h")
    for row, mean, total in points:
        axes.errorbar(
            total,
            mean.mean,
            yerr=mean.std,
            marker=next(markers) if row.published else "o",
            linestyle="none",
            capsize=3,
            markersize=8,
            markerfacecolor="none" if row.published else None,
            color="gray" if row.published else colours[row.label],
            label=_name(row.label),
        )
    axes.set_xscale("log")
    axes.margins(x=0.1, y=0.15)
    axes.set_xlabel("trained parameters, head included")
    axes.set_ylabel("mean test accuracy (%)")
    axes.grid(visible=True, alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    return _png(figure)


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
    figure, axes = _figure(max(6.0, 2.0 + 0.6 * len(tasks)), 1.7 + 0.38 * len(others))
    shown = axes.imshow(grid, aspect="auto", cmap="RdBu", vmin=-limit, vmax=limit)
    for (line, column), value in np.ndenumerate(grid):
        if not np.isnan(value):
            colour = "white" if abs(value) > 0.6 * limit else "black"
            text = axes.text(column, line, f"{value:+.1f}", color=colour, fontsize="small")
            text.set(ha="center", va="center")
    axes.set_xticks(range(len(tasks)), list(map(_name, tasks)), rotation=35, ha="right")
    axes.set_yticks(range(len(others)), [_name(row.label) for row in others])
    figure.colorbar(shown, ax=axes, label="points")
    return _png(figure)


def learning_curves(collected: Collected) -> bytes:
    """Training accuracy by epoch, a panel a task with runs, of the first seed."""
    names = [str(row) for row in collected.rows]
    tasks = [t for t in collected.tasks if any((t, row) in collected.runs for row in names)]
    columns = min(4, len(tasks))
    lines = -(-len(tasks) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.6 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, squeeze=False).flat
    colours = _colours(names)
    for task, axes in zip(tasks, panels, strict=False):
        for name in names:
            runs = collected.runs.get((task, name), ())
            epochs = read_metrics(runs[0].folder) if runs else []
            if not epochs:
                continue
            axes.plot(
                [epoch["epoch"] for epoch in epochs],
                [100 * epoch["train_accuracy"] for epoch in epochs],
                color=colours[name],
                label=_name(name),
                marker="." if len(epochs) < 6 else None,
            )
        axes.set_title(_name(task), fontsize="small")
        axes.set_xlabel("epoch", fontsize="small")
        axes.grid(visible=True, alpha=0.3)
    for axes in list(panels):
        axes.set_axis_off()
    lines_of = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
    shown = {name: lines_of[name] for name in names if name in lines_of}
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=6, fontsize="small")
    figure.supylabel("training accuracy (%)", fontsize="small")
    return _png(figure)


def coefficients(sites: Sequence[SiteView]) -> bytes:
    """Re-scaling coefficients by site, each site's sorted by size: a heat map."""
    longest = max(len(site.coefficients) for site in sites)
    grid = np.full((len(sites), longest), np.nan)
    for line, site in enumerate(sites):
        values = sorted(site.coefficients, reverse=True)
        grid[line, : len(values)] = values
    limit = float(np.nanmax(np.abs(grid))) or 1.0
    figure, axes = _figure(7.2, 1.2 + 0.22 * len(sites))
    shown = axes.imshow(grid, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_yticks(range(len(sites)), [site.name for site in sites], fontsize="small")
    axes.set_xlabel("coefficients of a site, sorted")
    figure.colorbar(shown, ax=axes)
    return _png(figure)


def singular_values(sites: Sequence[SiteView]) -> bytes:
    """Singular values of each site's update ``D diag(c) U``, dark to bright by depth."""
    import matplotlib

    figure, axes = _figure(7.2, 4.0)
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(sites)))
    for colour, site in zip(colours, sites, strict=True):
        values = np.maximum(site.singular_values, 1e-8)
        axes.plot(range(1, len(values) + 1), values, color=colour, label=site.name)
    axes.set_yscale("log")
    axes.set_xlabel("index")
    axes.set_ylabel("singular value")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="x-small", ncols=2 + len(sites) // 24, loc="lower left")
    return _png(figure)


def confusion(counts: np.ndarray, names: Sequence[str], title: str) -> bytes:
    """A confusion matrix, true classes down, predicted ones across, rows as shares."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = _figure(5.6, 5.0)
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 30:
        shown_names = list(map(_name, names))
        axes.set_xticks(range(len(names)), shown_names, rotation=90, fontsize="x-small")
        axes.set_yticks(range(len(names)), shown_names, fontsize="x-small")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(_name(title), fontsize="small")
    figure.colorbar(shown, ax=axes, shrink=0.8)
    return _png(figure)


def _name(text: str) -> str:
    """A name as it stands: matplotlib takes what is between dollars for a formula."""
    return plain(text).replace("$", r"\$")


def _colours(names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """A colour for each, different ones for up to twenty: the ten strong ones first."""
    import matplotlib

    pairs = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]
    every = [*pairs[::2], *pairs[1::2]]
    return {name: every[index % len(every)] for index, name in enumerate(names)}


def _difference(row: Row, linear: Row, task: str) -> float:
    ours, theirs = row.tasks[task], linear.tasks[task]
    return float("nan") if ours is None or theirs is None else ours.mean - theirs.mean


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()

"""What colours mean on every page and picture, and how pictures are drawn.

Blue is right or better, vermilion is wrong or worse: two that eyes which see little red or green
tell apart (Okabe and Ito, 2008). What isn't there is grey and hatched, so that it isn't zero.
"""

import io
import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from arcvit.core.shown import plain

RIGHT, WRONG = "#0b62a4", "#c2410c"
FITTED, MEASURED = "#8a8f98", "#0f766e"
"""Images that were trained on, and others."""
INK, FAINT, MISSING = "#1c1e21", "#d5d8dd", "#e9ebee"

BETTER = LinearSegmentedColormap.from_list(
    "better", [WRONG, "#f3b79b", "#ffffff", "#a9c9e6", RIGHT]
)
"""From worse over white, which is zero, to better."""
SHARE = LinearSegmentedColormap.from_list("share", ["#ffffff", "#a9c9e6", RIGHT, "#06304f"])
"""From none to all."""

_LINES = ["#0b62a4", "#e69f00", "#0f766e", "#c05299", "#1c1e21", "#56a8dc", "#7a4b12", "#8a8f98"]
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)))
_MARKS = "osD"
_LINE = 40
"""Characters in a line of a name."""

_STYLE = {
    "font.size": 10,
    "axes.edgecolor": "#9aa0a8",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "hatch.color": "#b9bec6",
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "arcvit",
    "text.color": INK,
    "xtick.color": "#5b616a",
    "ytick.color": "#5b616a",
}


def line_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, dash and mark of each name, as matplotlib takes them: 24 that can be told apart.

    The same names have the same styles in every picture, whatever their order.
    """
    looks = [
        {"color": colour, "linestyle": dash, "marker": mark}
        for dash, mark in zip(_DASHES, _MARKS, strict=True)
        for colour in _LINES
    ]
    return dict(zip(sorted(set(names)), itertools.cycle(looks), strict=False))


def styled() -> Any:
    """A context in which pictures are drawn."""
    return rc_context(_STYLE)


def figure(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty picture of so many inches, without a display."""
    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn, drawn.add_subplot()


def named(text: str) -> str:
    """A name as it stands, in short lines: a row of many settings leaves no room else.

    matplotlib takes what is between dollars for a formula.
    """
    lines = [""]
    for setting in re.split("(?<=:)", plain(text)):
        for start in range(0, len(setting), _LINE):
            part = setting[start : start + _LINE]
            if len(lines[-1] + part) > _LINE:
                lines.append("")
            lines[-1] += part
    return "\n".join(lines).replace("$", r"\$")


def mark_missing(axes: Axes, values: np.ndarray) -> None:
    """Hatch the cells (rows, columns) of a heat map that have no value."""
    axes.set_facecolor(MISSING)
    for row, column in np.argwhere(np.isnan(values)):
        cell = Rectangle((column - 0.5, row - 0.5), 1, 1, hatch="////", linewidth=0)
        cell.set_facecolor(MISSING)
        axes.add_patch(cell)


def png(drawn: Figure) -> bytes:
    """The picture, twice as fine as it is shown."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def svg(drawn: Figure) -> bytes:
    """The picture as lines, the same bytes for the same picture."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()

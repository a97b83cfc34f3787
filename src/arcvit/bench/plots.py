"""Pictures of results, as PNG or SVG bytes (matplotlib without a display)."""

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from arcvit.core.result import RunResult


def accuracy_against_parameters(results: Sequence[RunResult]) -> bytes:
    """Test accuracy over trained parameters, one point a run, as PNG."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for result in results:
        if result.test_accuracy is None:
            continue
        axes.plot(result.params["total"], 100 * result.test_accuracy, "o", markersize=9)
        axes.annotate(
            result.method,
            (result.params["total"], 100 * result.test_accuracy),
            xytext=(9, -3),
            textcoords="offset points",
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.margins(x=0.25, y=0.2)
    axes.set_xlabel("trained parameters, head included")
    axes.set_ylabel("test accuracy (%)")
    axes.grid(visible=True, alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()

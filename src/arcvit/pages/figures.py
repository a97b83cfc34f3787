"""Pictures on the page of a run, as SVG."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from arcvit.core.intervals import wilson
from arcvit.pages.palette import FITTED, INK, MEASURED, RIGHT, figure, styled, svg
from arcvit.pages.scores import coverage, reliability

_SIZE = (5.2, 3.3)
"""In inches: two stand side by side, and one is legible on a phone."""


def learning_curves(epochs: Sequence[dict[str, Any]]) -> tuple[bytes, bytes]:
    """Loss and accuracy by epoch, on the images trained on and those of the validation split.

    With several labels an image it is the mAP, which of the images trained on isn't known.
    """
    measured = "mAP" if any("val_mAP" in epoch for epoch in epochs) else "accuracy"
    return _curve(epochs, "loss", 1, "loss"), _curve(epochs, measured, 100, f"{measured} (%)")


def _curve(epochs: Sequence[dict[str, Any]], kind: str, scale: float, label: str) -> bytes:
    with styled():
        drawn, axes = figure(*_SIZE)
        for split, colour, name in (("train", FITTED, "training"), ("val", MEASURED, "validation")):
            points = [
                (number, scale * value)
                for number, epoch in enumerate(epochs, start=1)
                if (value := epoch.get(f"{split}_{kind}")) is not None
            ]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    color=colour,
                    label=name,
                    linewidth=2,
                    marker="o" if len(points) <= 20 else None,
                    markersize=4,
                )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(visible=True, axis="y")
        if axes.lines:
            axes.legend()
        return svg(drawn)


def reliability_diagram(
    probabilities: np.ndarray, uncalibrated: np.ndarray, right: np.ndarray
) -> bytes:
    """How often answers of about the same probability are right, with 95 % intervals.

    Args:
        probabilities: of the predicted classes, (N,).
        uncalibrated: the same before calibration, (N,); where they are equal they aren't drawn.
        right: whether each answer is right, (N,).
    """
    with styled():
        drawn, axes = figure(*_SIZE)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":", label="ideal")
        curves = [(probabilities, RIGHT, "o", "as given")]
        if not np.array_equal(probabilities, uncalibrated):
            curves.insert(0, (uncalibrated, FITTED, "s", "before calibration"))
        for values, colour, marker, name in curves:
            bins = reliability(values, right, bins=10)
            shares = np.array([b.accuracy.hits / b.accuracy.of for b in bins])
            reach = [
                shares - [b.accuracy.low for b in bins],
                np.array([b.accuracy.high for b in bins]) - shares,
            ]
            axes.errorbar(
                [b.confidence for b in bins],
                shares,
                yerr=np.maximum(reach, 0),
                color=colour,
                marker=marker,
                markersize=5,
                linewidth=1.6,
                elinewidth=1,
                capsize=2,
                label=name,
            )
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("probability of the answer")
        axes.set_ylabel("answers that are right")
        axes.grid(visible=True)
        drawn.legend(loc="outside upper center", ncols=3)
        return svg(drawn)


def coverage_curve(probabilities: np.ndarray, right: np.ndarray) -> bytes:
    """Accuracy of the surest answers over their share of all images, with its 95 % interval."""
    answered, hits, _ = coverage(probabilities, right)
    low, high = wilson(hits, answered)
    # A screen has no use for more.
    shown = np.unique(np.linspace(0, len(answered) - 1, 400).round().astype(int))
    x = answered[shown] / len(right)
    with styled():
        drawn, axes = figure(*_SIZE)
        axes.fill_between(x, low[shown], high[shown], color=RIGHT, alpha=0.15, linewidth=0)
        axes.plot(x, hits[shown] / answered[shown], color=RIGHT, linewidth=2)
        floor = float(min(hits[-1] / answered[-1], low[len(low) // 2]))
        axes.set(xlim=(0, 1.01), ylim=(max(0.0, floor - 0.1), 1.01))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("images answered, the surest first")
        axes.set_ylabel("accuracy of those")
        axes.grid(visible=True)
        return svg(drawn)

"""Paired differences to a reference row, as a table and as a picture over the numbers trained."""

from collections.abc import Sequence

from arcvit.bench.against import Against
from arcvit.core import shown
from arcvit.pages.palette import FAINT, FITTED, figure, line_styles, named, png, styled

_HEADER = (
    *("method", "trained", "stored", "mean", "difference", "± tasks", "± seeds"),
    *("ahead", "behind", "ruined"),
)


def table(rows: Sequence[Against], reference: str, notes: Sequence[str]) -> str:
    """A Markdown table, with what its columns are and the notes below it."""
    lines = [list(_HEADER), ["---", *["---:"] * (len(_HEADER) - 1)]]
    whole = max((row.tasks for row in rows), default=0)
    for row in rows:
        beside = row.label == row.reference
        lines.append(
            [
                shown.markdown(row.label),
                f"{row.trained:,.0f}",
                f"{row.stored:,.0f}",
                f"{row.mean:.1f}"
                + (f" ({row.tasks} of {whole} tasks)" if row.tasks < whole else ""),
                "reference" if beside else _points(row.difference, "+"),
                "" if beside else _points(row.error),
                "" if beside else _points(row.seed_error),
                "" if beside else f"{row.won} of {row.tasks}",
                "" if beside else f"{row.lost} of {row.tasks}",
                f"{row.ruined} of {row.runs}",
            ]
        )
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    told = [
        f"difference: in points to {reference}, of runs with the same task and seed; a mean over"
        " seeds, then tasks",
        "± tasks: its standard error over tasks; ± seeds: over seeds, on these very tasks",
        "trained, stored: numbers outside the head, trained and in the adapter's file",
        "ruined: runs whose loss wasn't finite, or no better than one answer for all while others"
        " are",
        *notes,
    ]
    return text + "\n\n" + "".join(f"- {shown.markdown(line)}\n" for line in told)


def picture(rows: Sequence[Against], reference: str) -> bytes:
    """Mean accuracy over the numbers trained; bars: standard errors of the paired differences.

    A bar that doesn't reach the line of the reference is a difference of more than one of them.
    A row that lacks tasks stands as far from that line as it does on the tasks that both have: a
    mean over other tasks would have no place on the same axis.
    What is stored beside what is trained is a hollow mark on the same height.
    """
    references = {row.label: row for row in rows if row.label == row.reference}
    styles = line_styles([row.label for row in rows])
    # A log axis has no zero: methods that train the head alone stand at its left end.
    least = min((row.trained for row in rows if row.trained), default=1.0) / 3
    with styled():
        drawn, axes = figure(9.0, 4.6)
        for row in rows:
            beside = references.get(row.reference)
            if beside is None or row.difference is None:
                continue
            x, look = max(row.trained, least), styles[row.label] | {"linestyle": "none"}
            y, label = beside.mean + row.difference, named(row.label)
            if row.tasks < beside.tasks:
                label += f" ({row.tasks} of {beside.tasks} tasks)"
            axes.errorbar(x, y, yerr=row.error or 0.0, capsize=3, label=label, **look)
            if row.stored > row.trained:
                axes.plot([x, row.stored], [y] * 2, ":", color=look["color"], linewidth=1)
                axes.plot(row.stored, y, **look | {"markerfacecolor": "white"})
            if row is beside:
                axes.axhline(y, color=FITTED, linestyle="--", linewidth=1, zorder=0)
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.15)
        if any(not row.trained for row in rows):
            axes.axvline(least, color=FAINT, linewidth=0.8, zorder=0)
            at = ("data", "axes fraction")
            axes.annotate("none", (least, 0.02), xycoords=at, ha="center", fontsize="small")
        axes.set_xlabel("numbers trained outside the head (hollow: stored)")
        axes.set_ylabel("mean on the test split (%)")
        axes.set_title(f"bars: ± standard error of the difference to {named(reference)} over tasks")
        axes.grid(visible=True)
        drawn.legend(loc="outside right upper", fontsize="small")
        return png(drawn)


def _points(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.2f}"

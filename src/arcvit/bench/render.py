"""The table as Markdown, CSV and LaTeX. No torch."""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from arcvit.bench.table import Cell, Row
from arcvit.core import shown

_TEXT = 3
"""Columns of text before those of numbers."""


def header(rows: Sequence[Row]) -> list[str]:
    """Titles of the columns."""
    return [
        "method",
        "backbone",
        "source",
        *rows[0].tasks,
        *(f"mean {group}" for group in rows[0].groups),
        f"mean of {len(rows[0].tasks)}",
        "mean of groups",
        "adapter (M)",
        "with head (M)",
        "seconds",
        "memory (MB)",
    ]


def cells(row: Row, plus_minus: str = "±") -> list[str]:
    """A row as text, in the order of :func:`header`."""
    return [
        row.method,
        row.backbone or "-",
        "published" if row.published else f"{row.seeds} seed{'s' if row.seeds != 1 else ''}",
        *(_text(cell, plus_minus) for cell in row.tasks.values()),
        *(_text(cell, plus_minus) for cell in row.groups.values()),
        _text(row.mean, plus_minus),
        _text(row.group_mean, plus_minus),
        _adapter(row),
        _number(row.total, 1e6, 3),
        _number(row.seconds, 1, 0),
        _number(row.memory, 1, 0),
    ]


def html_tables(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The table for a page, in two that a screen is wide enough for: means, then tasks.

    Returns:
        Of each ``title``, ``header`` and ``rows``; a row has ``published``, and ``cells`` with
        ``text``, ``std`` and whether it is the ``best``.
    """
    tasks, marks = len(rows[0].tasks), [best(rows, column) for column in _accuracies(rows)]
    titles = header(rows)
    accuracies = [_accuracies([row]) for row in rows]
    both = []
    for title, of_tasks in (("Means and sizes", False), ("Task by task", True)):
        columns = range(tasks) if of_tasks else range(tasks, len(marks))
        names = [titles[_TEXT + column] for column in columns]
        lines = []
        for index, row in enumerate(rows):
            texts = cells(row)
            line = [_plain_cell(text) for text in texts[: 1 if of_tasks else _TEXT]]
            for column in columns:
                cell = accuracies[index][column][0]
                line.append(_html_cell(cell, index in marks[column]))
            if not of_tasks:
                line += [_plain_cell(text) for text in texts[_TEXT + len(marks) :]]
            lines.append({"published": row.published, "cells": line})
        start, end = titles[: 1 if of_tasks else _TEXT], titles[_TEXT + len(marks) :]
        both.append(
            {
                "title": title,
                "text": len(start),
                "header": [*start, *names, *([] if of_tasks else end)],
                "rows": lines,
            }
        )
    return both


def best(rows: Sequence[Row], column: Sequence[Cell | None]) -> set[int]:
    """The rows run here that are best in a column of accuracies; none where there is but one."""
    known = {
        index: round(cell.mean, 1)
        for index, (row, cell) in enumerate(zip(rows, column, strict=True))
        if cell is not None and not row.published
    }
    most = max(known.values(), default=0.0)
    return {index for index, mean in known.items() if mean == most} if len(known) > 1 else set()


def _accuracies(rows: Sequence[Row]) -> list[list[Cell | None]]:
    """Columns of accuracies, in the order of :func:`header`."""
    lines = [[*row.tasks.values(), *row.groups.values(), row.mean, row.group_mean] for row in rows]
    return [list(column) for column in zip(*lines, strict=True)]


def _html_cell(cell: Cell | None, is_best: bool) -> dict[str, Any]:
    if cell is None:
        return _plain_cell("-")
    std = "" if cell.std is None else f"{cell.std:.1f}"
    return {"text": f"{cell.mean:.1f}", "std": std, "best": is_best}


def _plain_cell(text: str) -> dict[str, Any]:
    return {"text": text, "std": "", "best": False}


def markdown(rows: Sequence[Row], warnings: Sequence[str]) -> str:
    """A Markdown table, with the warnings below it."""
    titles = header(rows)
    lines = [list(map(shown.markdown, titles)), ["---"] * _TEXT]
    lines[1] += ["---:"] * (len(titles) - _TEXT)
    lines += [_with_text(shown.markdown, cells(row)) for row in rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = "".join(f"\n- **Warning:** {shown.markdown(warning)}" for warning in warnings)
    return f"{table}\n{notes and notes + chr(10)}"


def csv_text(rows: Sequence[Row], warnings: Sequence[str]) -> str:
    """One line a row; means and deviations in columns of their own, warnings in the last one."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    titles = header(rows)
    measured = titles[_TEXT:-4]
    both = [title for name in measured for title in (name, f"{name} std")]
    sized = ["adapter", "stored", "with head", *titles[-2:]]
    line = [*titles[:_TEXT], *both, *sized, "warnings"]
    writer.writerow(map(shown.csv_cell, line))
    for row in rows:
        found = [*row.tasks.values(), *row.groups.values(), row.mean, row.group_mean]
        values: list[object] = []
        for cell in found:
            values += ["", ""] if cell is None else [round(cell.mean, 3), _plain(cell.std)]
        figures = (row.adapter, row.stored, row.total, row.seconds, row.memory)
        sizes = [_plain(figure) for figure in figures]
        told = "" if row.published else "; ".join(warnings)
        writer.writerow(map(shown.csv_cell, [*cells(row)[:_TEXT], *values, *sizes, told]))
    return stream.getvalue()


def latex(rows: Sequence[Row], warnings: Sequence[str]) -> str:
    """A LaTeX table (booktabs), the best of ours in bold, with the warnings below it."""
    titles = header(rows)
    lines = [r"\begin{tabular}{" + "l" * _TEXT + "r" * (len(titles) - _TEXT) + "}", r"\toprule"]
    lines += [" & ".join(map(shown.latex, titles)) + r" \\", r"\midrule"]
    marks = [best(rows, column) for column in _accuracies(rows)]
    for index, row in enumerate(rows):
        if index and rows[index - 1].published and not row.published:
            lines.append(r"\midrule")
        line = _with_text(shown.latex, cells(row, r"$\pm$"))
        for column, of_column in enumerate(marks, start=_TEXT):
            if index in of_column:
                line[column] = rf"\textbf{{{line[column]}}}"
        lines.append(" & ".join(line) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize Warning: {shown.latex(warning)}" for warning in warnings]
    return "\n".join(lines) + "\n"


def _with_text(escape: Callable[[object], str], line: list[str]) -> list[str]:
    """A row whose columns of text are escaped; those of numbers stay."""
    return [*map(escape, line[:_TEXT]), *line[_TEXT:]]


def _text(cell: Cell | None, plus_minus: str) -> str:
    return "-" if cell is None else cell.text(plus_minus)


def _adapter(row: Row) -> str:
    """What is trained, and what is stored where something in the file isn't trained."""
    trained, stored = _number(row.adapter, 1e6, 3), _number(row.stored, 1e6, 3)
    return trained if row.stored == row.adapter else f"{trained}, {stored} stored"


def _number(value: float | None, unit: float, digits: int) -> str:
    return "-" if value is None else f"{value / unit:,.{digits}f}"


def _plain(value: float | None) -> object:
    return "" if value is None else round(value, 3)

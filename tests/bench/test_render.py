"""The table in all forms, with names that would be formulas or markup, and numbers as they are."""

import csv
import dataclasses

import numpy as np

from arcvit.bench.pictures import confusion
from arcvit.bench.render import csv_text, html_tables, latex, markdown
from arcvit.bench.table import Cell, Row

ROW = Row(
    label="=cmd",
    method="=cmd",
    backbone="a|b",
    published=False,
    tasks={"@task_$1$": Cell(mean=-0.5, std=0.25)},
    groups={"own": Cell(mean=-0.5)},
    mean=Cell(mean=-0.5),
    group_mean=None,
    seeds=2,
)
WARNING = "-1 \x1b[31m image(s) of <b>"


def test_a_spreadsheet_calculates_nothing() -> None:
    header, row = csv.reader(csv_text([ROW], [WARNING]).splitlines())
    assert header[3] == "'@task_$1$"
    assert row[:5] == ["'=cmd", "a|b", "2 seeds", "-0.5", "0.25"]
    assert row[-1] == "'-1 \\x1b[31m image(s) of <b>"


def test_markdown_shows_names() -> None:
    header, _, row, _, warning = markdown([ROW], [WARNING]).splitlines()
    assert "| @task\\_\\$1\\$ |" in header
    assert row.startswith("| =cmd | a\\|b | 2 seeds | -0.5 ± 0.2 | -0.5 |")
    assert warning.endswith("-1 \\\\x1b\\[31m image(s) of \\<b\\>")


def test_latex_shows_names() -> None:
    text = latex([ROW], [WARNING])
    assert r"@task\_\$1\$" in text
    assert r"=cmd & a|b & 2 seeds & -0.5 $\pm$ 0.2 & -0.5 &" in text
    assert r"\textbackslash{}x1b{[}31m image(s) of \textless{}b\textgreater{}" in text


def test_a_picture_shows_dollars() -> None:
    assert confusion(np.eye(2), [r"$\frac$", "b"], r"$\no$")


def test_what_is_stored_is_told_where_it_is_not_all_trained() -> None:
    trained = dataclasses.replace(ROW, adapter=22_104.0, stored=22_104.0, total=25_000.0)
    frozen = dataclasses.replace(ROW, adapter=4_608.0, stored=41_472.0, total=7_500.0)
    lines = markdown([trained, frozen], []).splitlines()[2:]
    assert [line.split(" | ")[-4] for line in lines] == ["0.022", "0.005, 0.041 stored"]
    header, *rows = csv.reader(csv_text([trained, frozen], []).splitlines())
    sizes = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["stored"] for row in sizes] == ["22104.0", "41472.0"]


def test_the_best_of_what_was_run_is_bold() -> None:
    def row(method: str, mean: float | None, *, published: bool = False) -> Row:
        cell = None if mean is None else Cell(mean=mean)
        changes = {"method": method, "published": published, "tasks": {"a": cell}}
        return dataclasses.replace(ROW, **changes, groups={}, mean=cell)

    rows = [row("paper", 90, published=True), row("x", 70.01), row("y", 70.04), row("z", None)]
    lines = [line for line in latex(rows, []).splitlines() if " & " in line][1:]
    # Both are 70.0 in the table.
    assert ["textbf{70.0}" in line for line in lines] == [False, True, True, False]
    means, tasks = html_tables(rows)
    assert [row["cells"][1]["best"] for row in tasks["rows"]] == [False, True, True, False]
    assert [len(row["cells"]) for row in means["rows"]] == [len(means["header"])] * 4
    assert not any(cell["best"] for cell in html_tables(rows[:2])[1]["rows"][1]["cells"])

"""The table in all forms, with names that would be formulas or markup, and numbers as they are."""

import csv

import numpy as np

from arcvit.bench.pictures import confusion
from arcvit.bench.render import csv_text, latex, markdown
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

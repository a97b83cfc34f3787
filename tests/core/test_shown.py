"""Names that others gave stay names wherever they are shown."""

import ast
import io

import pytest
from rich.table import Table

from arcvit.core.console import PlainConsole
from arcvit.core.shown import csv_cell, latex, markdown, plain, python_text

PLAIN = [
    ("Müller 図 a.jpg", "Müller 図 a.jpg"),
    ("\x1b[31mred", "\\x1b[31mred"),
    ("a\nb\tc\r\x7f\x9b", "a\\nb\\tc\\r\\x7f\\x9b"),
    ("gpj\u202ee.exe", "gpj\\u202ee.exe"),
    (b"\xff.jpg".decode("utf-8", "surrogateescape"), "\\xff.jpg"),
]
CELLS = [
    ("=1+1", "'=1+1"),
    ("+cmd", "'+cmd"),
    ("-cmd", "'-cmd"),
    ("@sum", "'@sum"),
    ("\uff1dcmd", "'\uff1dcmd"),
    ("\t=cmd", "\\t=cmd"),
    ("\r=cmd", "\\r=cmd"),
    ("a;=cmd|-x", "a;'=cmd|'-x"),
    ("a-b = c@d", "a-b = c@d"),
    ("", ""),
    ("-0.5", "-0.5"),
    ("+1e-3", "+1e-3"),
    (-0.5, -0.5),
    (3, 3),
]
MARKDOWN = [
    ("oxford_flowers102", "oxford_flowers102"),
    ("arc:share=none on vit_b.x", "arc:share=none on vit_b.x"),
    ("a|b\n| c", "a\\|b\\n\\| c".replace("\\n", "\\\\n")),
    ("_a_ *b* `c`", "\\_a\\_ \\*b\\* \\`c\\`"),
    ("<img src=x> [l](u) &amp; $x$ ~~", "\\<img src=x\\> \\[l\\](u) \\&amp; \\$x\\$ \\~\\~"),
]
LATEX = [
    ("dsprites_loc 50% & #1 {$}", r"dsprites\_loc 50\% \& \#1 \{\$\}"),
    (r"\input{x}", r"\textbackslash{}input\{x\}"),
    ("a~b^c", r"a\textasciitilde{}b\textasciicircum{}c"),
    ("[2cm]*", "{[}2cm]{*}"),
    ("-0.5", "-0.5"),
]


@pytest.mark.parametrize(("name", "shown"), PLAIN)
def test_plain(name: str, shown: str) -> None:
    assert plain(name) == shown


@pytest.mark.parametrize("name", [*(name for name, _ in PLAIN), "a'b\"\\c", "\U0001f600 {x}"])
def test_python_reads_what_was_shown_of_it(name: str) -> None:
    literal = python_text(name)
    assert ast.literal_eval(literal) == name
    assert plain(literal) == literal


@pytest.mark.parametrize(("value", "written"), CELLS)
def test_cells(value: object, written: object) -> None:
    assert csv_cell(value) == written
    assert type(csv_cell(value)) is type(written)


@pytest.mark.parametrize(("name", "written"), MARKDOWN)
def test_markdown(name: str, written: str) -> None:
    assert markdown(name) == written


@pytest.mark.parametrize(("name", "written"), LATEX)
def test_latex(name: str, written: str) -> None:
    assert latex(name) == written


def test_a_console_shows_names_as_they_are() -> None:
    name = "[bold red]x[/] [/] :smile: \x1b]0;t\x07"
    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=True, width=200)
    console.print(f"{name}\nsecond line", soft_wrap=True)
    table = Table()
    table.add_column("name")
    table.add_row(name)
    console.print(table)
    shown = "[bold red]x[/] [/] :smile: \\x1b]0;t\\x07"
    assert f"{shown}\nsecond line" in file.getvalue()
    assert file.getvalue().count(shown) == 2
    assert "\x1b]" not in file.getvalue()

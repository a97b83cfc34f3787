"""Names that others gave, of files, classes and methods, as they may be shown and written.

A name can hold what moves a terminal's cursor, runs as a formula in a spreadsheet, or is markup.
Numbers are never touched.
"""

import json
import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Also the letters that turn the direction of text, or end a line."""
_FORMULA = re.compile("(?:^|(?<=[;|]))(?=[=+@\uff0b\uff0d\uff1d\uff20-])")
"""Where a cell begins that a spreadsheet would calculate; some separate cells by ; or |."""
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])")
_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "_%&#${}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "[": "{[}",
        "*": "{*}",  # the end of the line before would take them for its own
    }
)


def plain(text: object) -> str:
    """A text in one line: control characters as ``\\x1b``, bytes that aren't UTF-8 as well."""
    shown = _escaped_controls(str(text))
    return shown.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def python_text(text: object) -> str:
    """A text as a literal of Python, in double quotes."""
    quoted = json.dumps(str(text), ensure_ascii=False)
    return _escaped_controls(quoted).encode("utf-8", "backslashreplace").decode("utf-8")


def csv_cell(value: object) -> object:
    """A value for a table: a text that a spreadsheet would calculate gets an apostrophe."""
    if not isinstance(value, str) or _is_number(value):
        return value
    return _FORMULA.sub("'", _escaped_controls(value))


def markdown(text: object) -> str:
    """A text for Markdown, which also takes HTML and, in places, formulas."""
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", plain(text))


def latex(text: object) -> str:
    """A text for LaTeX."""
    return plain(text).translate(_LATEX)


def _escaped_controls(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

"""Self-contained HTML pages: pictures and photos are in the file itself."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from arcvit.core.files import write_text
from arcvit.core.shown import plain


def data_uri(content: bytes, media_type: str) -> str:
    """Bytes as a ``data:`` URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def write_page(file: Path, template: str, **values: Any) -> None:
    """Render a template of this package and write it atomically.

    Names of files and classes are escaped, and stay in their line.
    """
    environment = Environment(
        loader=PackageLoader("arcvit.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: plain(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    write_text(file, environment.get_template(template).render(**values))


def percent(share: float | None, digits: int = 1) -> str:
    """A share as ``93.4 %``; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"

"""Self-contained HTML pages: pictures and photos are in the file itself."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from arcvit.core.files import write_text


def data_uri(content: bytes, media_type: str) -> str:
    """Bytes as a ``data:`` URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def write_page(file: Path, template: str, **values: Any) -> None:
    """Render a template of this package and write it atomically."""
    environment = Environment(
        loader=PackageLoader("arcvit.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_text(file, environment.get_template(template).render(**values))

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from arcvit.pages.page import data_uri, write_page


def test_a_data_uri() -> None:
    assert data_uri(b"abc", "image/png") == "data:image/png;base64,YWJj"


def test_a_missing_value_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        write_page(tmp_path / "a.html", "demo.html.j2", rows=[])
    assert not list(tmp_path.iterdir())

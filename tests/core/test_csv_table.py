"""Tables are written whole, and as a spreadsheet may open them."""

from pathlib import Path

import pytest

from arcvit.core.csv_table import write_csv


def test_names_are_text_and_numbers_stay(tmp_path: Path) -> None:
    rows = [("=1+1", -0.5, "-0.5"), ("a,b", None, "caf\udce9")]
    write_csv(tmp_path / "t.csv", ["path", "@x", "score"], rows)
    lines = (tmp_path / "t.csv").read_bytes().splitlines()
    assert lines == [b"path,'@x,score", b"'=1+1,-0.5,-0.5", b'"a,b",,caf\xe9']


def test_what_is_cut_off_leaves_the_table_of_before(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["path"], [["old"]])
    with pytest.raises(ZeroDivisionError):
        write_csv(tmp_path / "t.csv", ["path"], ([1 / n] for n in (1, 0)))
    assert (tmp_path / "t.csv").read_text() == "path\nold\n"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]

from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.lists import list_findings, read_text


def test_read_text_drops_the_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfhello")
    assert read_text(file) == "hello"


def test_read_text_refuses_other_encodings(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("Äpfel".encode("latin-1"))
    with pytest.raises(UserError, match=r"a\.txt isn't UTF-8"):
        read_text(file)


@pytest.mark.parametrize(
    ("mistakes", "sentence"),
    [
        (["line 1 is odd"], "a.txt line 1 is odd."),
        (["line 1 is odd", "line 2 is odd"], "a.txt line 1 is odd; line 2 is odd."),
        (["x"] * 5, "a.txt x; x; x; and 2 more such mistakes."),
    ],
)
def test_mistakes_are_told_in_a_sentence(mistakes: list[str], sentence: str) -> None:
    (finding,) = list_findings(Path("a.txt"), mistakes=mistakes)
    assert (finding.kind, finding.text) == ("malformed-list", sentence)


def test_repeats_are_told_apart() -> None:
    found = list_findings(Path("a.txt"), mistakes=["is empty"], repeats=["lists b twice"])
    assert [finding.kind for finding in found] == ["malformed-list", "repeated-lines"]

import pytest

from arcvit.core.errors import nearest

KNOWN = ("arc", "arc_att", "linear")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("arcc", " Did you mean 'arc' or 'arc_att'?"),
        ("liner", " Did you mean 'linear'?"),
        ("zzzzz", ""),
        ("", ""),
    ],
)
def test_nearest(name: str, sentence: str) -> None:
    assert nearest(name, KNOWN) == sentence


def test_at_most_as_many_as_asked_for() -> None:
    assert nearest("arcc", KNOWN, most=1) == " Did you mean 'arc'?"

import pytest

from arcvit.core.durations import seconds_in, spoken
from arcvit.core.errors import UserError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h", 7200), ("1m 5s", 65)]
)
def test_durations(text: str, seconds: int) -> None:
    assert seconds_in(text, key="time_limit") == seconds


LONG = "9" * 5000 + "s"


@pytest.mark.parametrize("text", ["", "90", "0s", "-5m", "5 minutes", "1.5h", "30m1h", LONG])
def test_what_is_none(text: str) -> None:
    with pytest.raises(UserError, match=r"time_limit is .*: expected a duration, as 90s, 10m"):
        seconds_in(text, key="time_limit")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.42 s"), (46.2, "46 s"), (170, "3 min"), (9000, "2.5 h")]
)
def test_spoken(seconds: float, text: str) -> None:
    assert spoken(seconds) == text

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest

from arcvit.core.errors import UserError
from arcvit.core.settings import Count, Range, check_settings, described, nearest_choice


@dataclass(frozen=True, kw_only=True)
class Inner:
    a: int = 1
    b: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    count: Count = 1
    share: Annotated[float, Range(above=0, below=1)] = 0.5
    name: str = "x"
    flag: bool = False
    kind: Literal["red", "green"] = "red"
    names: list[str] = field(default_factory=list)
    kinds: list[Literal["red", "green"]] = field(default_factory=list)
    size: Annotated[int, Range(at_least=2, at_most=4)] | None = None
    inner: Inner = field(default_factory=Inner)


GOOD = [
    {},
    {"count": 10**9},
    {"share": 1e-9},
    {"share": 0.999},
    {"size": None},
    {"size": 2},
    {"size": 4},
    {"kinds": ["green", "red"]},
    {"names": ["a"]},
]

WRONG: list[tuple[dict[str, object], str]] = [
    ({"count": 0}, "s.count is 0: expected a whole number at least 1."),
    ({"count": "1"}, "s.count is '1': expected a whole number."),
    ({"count": 1.0}, "s.count is 1.0: expected a whole number."),
    ({"count": True}, "s.count is True: expected a whole number."),
    ({"count": None}, "s.count is null: expected a whole number."),
    ({"share": 0}, "s.share is 0: expected a number above 0 and below 1."),
    ({"share": 1.0}, "s.share is 1.0: expected a number above 0 and below 1."),
    ({"share": math.nan}, "s.share is nan: expected a finite number above 0 and below 1."),
    ({"share": math.inf}, "s.share is inf: expected a finite number above 0 and below 1."),
    ({"size": 1}, "s.size is 1: expected a whole number at least 2 and at most 4."),
    ({"size": 5}, "s.size is 5: expected a whole number at least 2 and at most 4."),
    ({"name": 3}, "s.name is 3: expected text."),
    ({"flag": 1}, "s.flag is 1: expected true or false."),
    ({"kind": "gren"}, "s.kind is 'gren': expected one of red, green. Did you mean 'green'"),
    ({"names": "a"}, "s.names is 'a': expected a list, as [a, b]."),
    ({"names": [1]}, "s.names is [1]: expected a list, as [a, b]."),
    ({"kinds": ["rad"]}, "each one of red, green. Did you mean 'red'?"),
    ({"inner": 3}, "s.inner is 3: expected keys of their own (a, b)."),
]


@pytest.mark.parametrize("values", GOOD)
def test_good_values(values: dict[str, object]) -> None:
    check_settings("s", Sample(**values))  # type: ignore[arg-type]


@pytest.mark.parametrize(("values", "sentence"), WRONG)
def test_wrong_values_name_the_key(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        check_settings("s", Sample(**values))  # type: ignore[arg-type]
    assert sentence in str(caught.value)


def test_the_top_has_no_section() -> None:
    with pytest.raises(UserError, match=r"^count is 0"):
        check_settings("", Sample(count=0))


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        (Range(at_least=1), "at least 1"),
        (Range(above=0, at_most=1), "above 0 and at most 1"),
        (Range(at_least=0, below=2**32), "at least 0 and below 4294967296"),
    ],
)
def test_a_range_says_what_it_is(bounds: Range, text: str) -> None:
    assert str(bounds) == text


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "a whole number"),
        (float | None, "a number"),
        (str, "text"),
        (list[str], "a list, as [a, b]"),
        (Literal["a", "b"], "one of a, b"),
        (Inner, "keys of their own (a, b)"),
    ],
)
def test_types_in_words(hint: object, text: str) -> None:
    assert described(hint) == text


def test_nearest_choice_only_where_there_are_choices() -> None:
    assert nearest_choice("arcc", Literal["arc", "linear"]) == " Did you mean 'arc'?"
    assert nearest_choice("arcc", str) == ""
    assert nearest_choice("zzz", Literal["arc", "linear"]) == ""

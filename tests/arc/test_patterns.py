"""Regular expressions from files: the usual ones pass, those that could take hours don't."""

import re
import time

import pytest

from arcvit.arc.patterns import check_pattern
from arcvit.core.errors import UserError

BLOCKS = "|".join(re.escape(f"blocks.{i}.norm{j}") for i in range(40) for j in (1, 2))
USUAL = [
    r".*\.(q|v)_proj",
    r"blocks\.([0-9]|1[01])\.norm[12]",
    r"^(?!.*head).*\.(qkv|fc1)$",
    r"model\.(layers|blocks)\.(\d+)\..*(q|k)$",
    r".*layers.*self_attn.*(q|k|v)_proj",
    r".*\.q|.*\.k|.*\.v|.*\.o|a.*b|c.*",
    r"(?:.+\.)?qkv",
    r"(?P<name>norm)\d{1,2}",
    r"[)(*+]\(a\)*(ab)*",
    BLOCKS,
    "",
]
ENDLESS = [
    r"(([a-z0-9.]+)+)+#",
    r"(a|a)*b",
    r"(a|ab)" * 30,
    r"a?" * 30 + "a" * 30,
    r".*" * 10 + "x",
    r"(?:.*){3}x",
    r"(?=(a+)+)b",
    r"(?x)(a+) +b",
    r"(?x)# )" + "\n(a+)+",
    r"(?i:(a+){2,})x",
]


@pytest.mark.parametrize("pattern", USUAL)
def test_the_usual_pass(pattern: str) -> None:
    check_pattern("target_modules", pattern)


@pytest.mark.parametrize("pattern", ENDLESS)
def test_those_that_can_take_hours_are_refused_at_once(pattern: str) -> None:
    started = time.process_time()
    with pytest.raises(UserError, match=r"target_modules is '.*can take hours on a long name"):
        check_pattern("target_modules", pattern)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("pattern", ["(", "[", "a**", "(" * 5000 + ")" * 5000])
def test_no_expressions_at_all(pattern: str) -> None:
    with pytest.raises(UserError, match="which is no regular expression"):
        check_pattern("target_modules", pattern)


def test_what_passes_is_quick_where_it_is_worst() -> None:
    """The bound on the ways is one on the time, for names of models as they are."""
    name = "a" * 40
    for pattern in (r".*.*.*(x|y|z)", r"a*a*a*b", "(a|aa)" * 15 + "b"):
        check_pattern("target_modules", pattern)
        started = time.process_time()
        assert re.fullmatch(pattern, name) is None
        assert time.process_time() - started < 0.5

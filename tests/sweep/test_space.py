from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.methods.row import MethodRow, parse_row
from arcvit.methods.table import methods
from arcvit.sweep.space import SPACES, label, load_space


def rows(*texts: str) -> list[MethodRow]:
    return [parse_row(text) for text in texts]


@pytest.mark.parametrize(("name", "trials"), [("grid", 3), ("wide", 35)])
def test_every_method_is_searched_alike(name: str, trials: int) -> None:
    space = load_space(name, rows(*methods()))
    assert list(space) == list(methods())
    assert {len(found) for found in space.values()} == {trials}
    assert len({label(settings) for settings in space["arc"]}) == trials


def test_the_grid_is_around_the_defaults() -> None:
    for method, trials in load_space("grid", rows(*methods())).items():
        low, default, high = (settings["optim.lr"] for settings in trials)
        assert default == methods()[method].lr
        assert 2.9 < default / low < 3.4
        assert 2.9 < high / default < 3.4


def test_a_space_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("arc: {optim.lr: [0.1, 0.01], arc.arc_dropout: [0, 0.5]}")
    space = load_space(str(file), rows("arc", "arc:arc_dropout=0", "arc:optim.lr=1:arc_dropout=0"))
    trials = space["arc"]
    assert trials == [
        {"optim.lr": lr, "arc.arc_dropout": dropout} for lr in (0.01, 0.1) for dropout in (0, 0.5)
    ]
    assert label(trials[0]) == "lr 0.01 arc_dropout 0"
    # Settings written by hand may be of any kind.
    assert label({"arc.share": "none", "arc.layers": [0, 1]}) == "share none layers [0, 1]"
    # What a row fixes leaves its search.
    assert space["arc:arc_dropout=0"] == [{"optim.lr": 0.01}, {"optim.lr": 0.1}]
    assert space["arc:arc_dropout=0:optim.lr=1"] == [{}]


WRONG = [
    ("arc: {optim.lr: [1]}\nlora: {optim.lr: [1, 2]}", "not as many trials .*: arc 1, lora 2"),
    ("arc: {optim.lr: []}", "isn't a search space"),
    ("arc: {optim.lr: [a]}", "isn't a search space"),
    ("arc: {optim.lr: [true]}", "isn't a search space"),
    ("arc: {optim.lr: 1}", "isn't a search space"),
    ("{}", "isn't a search space"),
    ("arc: {optim: [1], optim.lr: [1]}", "isn't a search space"),
    ("arc: {}", "isn't a search space"),
    ("arc: [1]", "isn't a search space"),
    ("- arc", "isn't a search space"),
    ("arcc: {optim.lr: [1]}", "the method is 'arcc'.*Did you mean 'arc'"),
    ("arc: [", "isn't YAML"),
    ("lora: {optim.lr: [1]}", "the search has no settings for arc: add them"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_wrong_spaces(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence):
        load_space(str(tmp_path / "s.yaml"), rows("arc"))


def test_spaces_that_arent_there() -> None:
    for name in ("gird", "none.yaml"):
        with pytest.raises(UserError, match=f"isn't there: expected {', '.join(SPACES)}, none"):
            load_space(name, rows("arc"))

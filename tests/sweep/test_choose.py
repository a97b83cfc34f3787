import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from arcvit.sweep.choose import best_settings, choose_settings
from arcvit.sweep.edge import at_edge, beyond
from arcvit.sweep.space import Settings
from arcvit.sweep.tries import Try, tries

CASES = [
    ([({"lr": 0.1}, [0.5]), ({"lr": 0.01}, [0.6])], {"lr": 0.01}),
    ([({"lr": 0.1}, [0.6]), ({"lr": 0.01}, [0.5])], {"lr": 0.1}),
    # Ties go to the lower.
    ([({"lr": 0.1}, [0.6]), ({"lr": 0.01}, [0.6]), ({"lr": 0.3}, [0.6])], {"lr": 0.01}),
    ([({"lr": 0.1}, [0.0])], {"lr": 0.1}),
    ([({"wd": 0.0, "lr": 0.1}, [0.6]), ({"wd": 0.1, "lr": 0.01}, [0.6])], {"wd": 0.0, "lr": 0.1}),
    (
        [({"wd": 0, "optim.lr": 0.1}, [0.6]), ({"wd": 1, "optim.lr": 0.01}, [0.6])],
        {"wd": 1, "optim.lr": 0.01},
    ),
    # One seed in luck, or one that was ruined.
    ([({"lr": 0.1}, [0.9, 0.1]), ({"lr": 0.01}, [0.6, 0.6])], {"lr": 0.01}),
    ([({"lr": 0.1}, [0.9, None]), ({"lr": 0.01}, [0.4, 0.4])], {"lr": 0.01}),
    ([({"lr": 0.1}, [None])], None),
]


@pytest.mark.parametrize(("tried", "expected"), CASES)
def test_the_best_mean_is_chosen(
    tried: list[tuple[Settings, Sequence[float | None]]], expected: Settings | None
) -> None:
    assert best_settings(tried) == expected


def grid(*rates: float) -> list[Settings]:
    return [{"optim.lr": rate, "lora.dropout": d} for rate in rates for d in (0, 0.1)]


@pytest.mark.parametrize(
    ("rates", "best", "further"),
    [
        ((0.001, 0.003, 0.01), 0.003, None),
        ((0.001, 0.003, 0.01), 0.001, 0.00033),
        ((0.001, 0.003, 0.01), 0.01, 0.033),
        ((0.01, 0.1), 0.1, 1.0),
        ((0.01,), 0.01, None),
    ],
)
def test_one_more_rate_where_the_best_is_at_the_edge(
    rates: tuple[float, ...], best: float, further: float | None
) -> None:
    chosen = {"optim.lr": best, "lora.dropout": 0.1}
    assert at_edge(grid(*rates), chosen) == (further is not None)
    assert beyond(grid(*rates), chosen) == ([] if further is None else grid(further))


def test_a_rate_that_is_fixed_has_no_edge() -> None:
    assert beyond([{"lora.dropout": 0}, {"lora.dropout": 1}], {"lora.dropout": 1}) == []


def test_seeds_and_folds_take_turns() -> None:
    assert tries((0, 1), None) == (Try(seed=0), Try(seed=1))
    assert [(t.seed, t.fold) for t in tries((0, 1), 3)] == [(0, 0), (1, 1), (0, 2)]
    assert [(t.seed, t.fold) for t in tries((0, 1, 2), 2)] == [(0, 0), (1, 1), (2, 0)]
    names = [t.folder({"optim.lr": 0.1}) for t in tries((7,), 2)]
    assert names == ["optim.lr=0.1,seed=7,fold=0of2", "optim.lr=0.1,seed=7,fold=1of2"]


def test_a_choice_says_what_it_went_by(tmp_path: Path) -> None:
    tried = [({"optim.lr": 0.1}, [0.5, 0.7]), ({"optim.lr": 0.01}, [0.3, 0.5])]
    assert choose_settings(tried, tmp_path, metric="macro_f1") == {"optim.lr": 0.1}
    choice = json.loads((tmp_path / "choice.json").read_text())
    assert choice["metric"] == "macro_f1"
    assert choice["trials"][0]["val_macro_f1"] == pytest.approx(0.6)

"""What rows have of a recipe that was written for another method, and what is said of it."""

import pytest

from arcvit.bench.borrowed import borrowed
from arcvit.bench.rows import bench_rows
from arcvit.bench.suite import Suite, SuiteTask
from arcvit.bench.trials import Bench

TASK = SuiteTask(name="one", group="made", path="one")
SUITE = Suite(name="mine", tasks=(TASK,), order=("one",))


def _bench(recipe: str | None, methods: str, *flags: str) -> Bench:
    rows = bench_rows(methods, None)
    return Bench(suite=SUITE, rows=rows, seeds=(0,), recipe=recipe, overrides=flags)


@pytest.mark.parametrize(
    ("recipe", "methods", "flags", "said"),
    [
        ("vtab/vit_l16", "arc,lora,arc_plus:r=39", (), []),
        ("vtab/vit_l16", "arc_plus,arc_att", (), ["arc_plus 38 39", "arc_att 38 50"]),
        ("vtab/vit_l16", "arc_plus,arc_att", ("--arc.r=8",), []),
        ("vtab/vit_b16", "arc,arc_att,arc_plus", (), []),
        ("vtab/vit_b16_plus", "arc_plus,arc", (), ["arc 37 50"]),
        (None, "arc,arc_plus", (), []),
    ],
)
def test_sizes(recipe: str | None, methods: str, flags: tuple[str, ...], said: list[str]) -> None:
    written_for = "arc_plus" if recipe == "vtab/vit_b16_plus" else "arc"
    assert borrowed(_bench(recipe, methods, *flags)) == [
        f"{row} has r={has}, as the recipe says for {written_for}; its own is {own}: for that, name"
        f" the row {row}:r={own}"
        for row, has, own in map(str.split, said)
    ]


def test_rates() -> None:
    bench = _bench("vtab/vit_b16", "arc,arc_att,arc_plus,lora")
    rates = [bench.recipe_for(TASK, "one", row, 0).optim.lr for row in bench.rows]
    # At the recipe's, coefficients of arc_plus would learn at many times what it is for.
    assert rates == [0.01, 0.01, *(row.method.spec.lr for row in bench.rows[2:])]

"""Sizes chosen so that rows train as much as a reference."""

from pathlib import Path

import pytest

from arcvit.bench.match import _largest, match_params
from arcvit.bench.rows import bench_rows
from arcvit.bench.suite import Suite, SuiteTask
from arcvit.bench.trials import Bench


@pytest.mark.parametrize(
    ("count", "most", "size"),
    [
        (lambda r: 100 + 10 * r, 155, 5),
        (lambda r: 100 + 10 * r, 160, 6),
        (lambda r: 100 + 10 * r, 109, None),
        (lambda r: 100 + r * r, 500, 20),
        (lambda r: 10 * r if r <= 7 else float("inf"), 500, 7),
        (lambda r: 10 * -(-r // 3), 49, 12),
    ],
)
def test_the_largest_that_fits(count: object, most: int, size: int | None) -> None:
    assert _largest(count, most) == size  # type: ignore[arg-type]


def test_rows_of_equal_size(tiny: Path) -> None:
    task = SuiteTask(name="one", group="made", path="one")
    bench = Bench(
        suite=Suite(name="mine", tasks=(task,), order=("one",)),
        rows=bench_rows("arc:r=8,lora,lora:r=2,lora:r=1,linear", str(tiny)),
        seeds=(0,),
    )
    # The tiny backbone is 32 wide, with two blocks: 2 x 32 x 8 of D, 4 x (8 + 32) of c and b.
    # LoRA on qkv and fc1 trains 2 x (32 + 96 + 32 + 128) for each rank.
    matched = match_params(bench, "arc:r=8")
    labels = [row.method.label for row in matched.rows]
    assert labels == ["arc:r=8", "lora:r=1", "lora:r=2", "linear"]
    assert [note.replace(" on tiny", "") for note in matched.notes] == [
        "arc:r=8 trains 672 numbers (arc:r=8: 672)",
        "lora:r=1 trains 576 numbers (arc:r=8: 672)",
        "lora:r=2 keeps the size it was given: it trains 1,152 numbers (arc:r=8: 672)",
        "linear has no size to choose: it trains 0 numbers (arc:r=8: 672)",
    ]
    smaller = match_params(bench, "arc:r=1")
    assert smaller.rows[1].method.label == "lora"
    assert "lora on tiny is larger even with r=1: it trains 4,608" in smaller.notes[1]

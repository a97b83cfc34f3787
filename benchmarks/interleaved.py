"""Competitors measured round by round, A B C A B C ..., so that a slow minute slows all of them."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from arcvit.core.allocator import keep_freed_memory

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def add_options(parser: argparse.ArgumentParser, *, repeats: int) -> None:
    """``--repeats``, ``--clock`` and ``--out``."""
    parser.add_argument("--repeats", type=int, default=repeats, help=f"rounds ({repeats})")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: of the process, for a busy machine; with OMP_NUM_THREADS=1 (wall)",
    )
    parser.add_argument("--out", type=Path, help="JSON file for the times of every round")


def measure(
    competitors: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    warm_up: int = 1,
    clock: str = "wall",
) -> dict[str, list[float]]:
    """Seconds of each competitor in each round; the first rounds warm up and don't count.

    Freed memory stays in the process, as under the ``arcvit`` command: whose turn it is to give
    pages back and to have new ones cleared is chance, and larger than some differences here.
    """
    keep_freed_memory()
    now = CLOCKS[clock]
    times: dict[str, list[float]] = {name: [] for name in competitors}
    for repeat in range(repeats + warm_up):
        for name, run in competitors.items():
            start = now()
            run()
            if repeat >= warm_up:
                times[name].append(now() - start)
    return times


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """The ratio of two competitors in each round."""
    return [a / b for a, b in zip(over, under, strict=True)]


def spread(values: Sequence[float], unit: str = "") -> str:
    """Median, and smallest to largest."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):8.3f}{unit}  ({low:.3f} to {high:.3f})"


def report(title: str, lines: Mapping[str, Sequence[float]], unit: str = "") -> None:
    """Print medians with their spread under a title."""
    print(title)
    for name, values in lines.items():
        print(f"  {name:<44}{spread(values, unit)}", flush=True)


def judge(
    what: str, value: float, *, at_least: float | None = None, at_most: float | None = None
) -> None:
    """Print a target beside what was found, and whether it is met."""
    missed = (at_least is not None and value < at_least) or (
        at_most is not None and value > at_most
    )
    bound = f"at most {at_most:g}" if at_least is None else f"at least {at_least:g}"
    print(
        f"target: {what} {bound}; found {value:.3f}: {'NOT met' if missed else 'met'}", flush=True
    )


def write(out: Path | None, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, with the machine; None: nowhere."""
    if out is not None:
        machine = {"machine": platform.machine(), "python": platform.python_version()}
        out.write_text(json.dumps({**machine, **record}, indent=2) + "\n", encoding="utf-8")

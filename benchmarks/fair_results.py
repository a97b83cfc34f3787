"""Every accuracy of some benches in one JSON file, those of their searches too.

    python benchmarks/fair_results.py RUNS [RUNS ...] --about "one H200, bf16" --out FILE

RUNS are folders that ``arcvit bench`` wrote. A line is a run: its task and method, the settings
that were searched, its seed, the split it was measured on (a fold as ``fold=0of4``), accuracy, and
the numbers outside the head, trained and stored. The same run in two folders is taken from the
first.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arcvit.bench.collect import collect
from arcvit.core.errors import UserError
from arcvit.core.files import read_json
from arcvit.core.result import RESULT_FILE
from arcvit.sweep.choose import CHOICE_FILE

COLUMNS = ("task", "method", "settings", "seed", "part", "accuracy", "trained", "stored")


def main() -> None:
    """Gather and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of arcvit bench")
    parser.add_argument("--about", required=True, help="where and how they ran, for the reader")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found: dict[tuple[Any, ...], list[Any]] = {}
    try:
        for folder in options.runs:
            for run in _runs(folder):
                found.setdefault(tuple(run[:5]), run)
    except UserError as error:
        parser.error(str(error))
    lines = ",\n".join("  " + json.dumps(run) for run in found.values())
    head = json.dumps({"about": options.about, "columns": COLUMNS}, indent=1).removesuffix("\n}")
    options.out.write_text(f'{head},\n "runs": [\n{lines}\n ]\n}}\n', encoding="utf-8")
    print(f"{len(found)} runs in {options.out}")


def _runs(folder: Path) -> Iterator[list[Any]]:
    collected = collect(folder)
    for task in collected.tasks:
        for row in collected.rows:
            place = folder / task / row.folder
            for trial in sorted(place.glob(f"search/*/{RESULT_FILE}")):
                settings, _, judged_by = trial.parent.name.rpartition(",seed=")
                yield _line(task, row.method, settings, trial, fold=judged_by.partition(",")[2])
            choice = place / "search" / CHOICE_FILE
            chosen = read_json(choice)["settings"] if choice.is_file() else {}
            settings = ",".join(f"{key}={value!r}" for key, value in chosen.items())
            for final in sorted(place.glob(f"seed-*/{RESULT_FILE}")):
                yield _line(task, row.method, settings, final)


def _line(task: str, method: str, settings: str, file: Path, *, fold: str = "") -> list[Any]:
    result = read_json(file)
    part = "val" if result["test_accuracy"] is None else "test"
    accuracy = round(result[f"{part}_accuracy"], 5)
    trained = result["params"]["adapter"]
    stored = result["params"].get("stored", trained)
    return [task, method, settings, result["seed"], fold or part, accuracy, trained, stored]


if __name__ == "__main__":
    main()

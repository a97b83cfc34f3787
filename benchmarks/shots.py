"""Accuracy from 1 to 16 images a class, on three tasks, with the defaults of `--data.shots`.

    python benchmarks/shots.py --data ../shared/data --work /tmp/shots --seeds 0,1,2

Groceries, drawn shapes and CIFAR-100, on the bundled backbone; a seed draws the images and
everything else. So that the whole takes minutes on two cores, at most --classes classes of a task
and --test of their test images count, the same for all, drawn by a fixed seed. Classes that haven't
so many images (CIFAR-100 has 8 to train on, some groceries fewer than 16) give what they have.
Finished runs in --work aren't run again. Prints means over the seeds with standard deviations.
"""

import argparse
import csv
import random
import statistics
from collections.abc import Iterable
from pathlib import Path

import arcvit
from arcvit.core.result import is_finished, read_result
from arcvit.data.readers.layouts import open_task

TASKS = {
    "grocery": "grocery",
    "shapes": "fgvc/HandDrawnShapes",
    "cifar": "vtab-1k/cifar",
}


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="Where tables and runs go.")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--methods", default="linear,arc,lora:r=2")
    parser.add_argument("--shots", default="1,2,4,8,16")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--classes", type=int, default=20, help="Classes of a task, at most.")
    parser.add_argument("--test", type=int, default=300, help="Test images of a task, at most.")
    options = parser.parse_args()
    shots = [int(text) for text in options.shots.split(",")]
    seeds = [int(text) for text in options.seeds.split(",")]
    print(
        f"test accuracy in percent, {len(seeds)} seed(s), at most {options.classes} classes and"
        f" {options.test} test images"
    )
    for name in options.tasks.split(","):
        table = options.work / f"{name}.csv"
        task = open_task(options.data / TASKS[name])
        draws = random.Random(0)
        classes = range(len(task.classes))
        kept = set(draws.sample(classes, min(options.classes, len(classes))))
        train, test = ([p for p in task.split(s) if p[1] in kept] for s in ("train", "test"))
        draws.shuffle(test)
        splits = {"train": train, "test": test[: options.test]}
        write_table(table, task.classes, splits)
        for method in options.methods.split(","):
            cells = []
            for k in shots:
                found = [100 * accuracy(options.work, table, method, k, seed) for seed in seeds]
                spread = f" ± {statistics.stdev(found):.1f}" if len(found) > 1 else ""
                cells.append(f"{k}: {statistics.fmean(found):.1f}{spread}")
            print(f"{name:8} {method:9} " + "   ".join(cells), flush=True)


def write_table(
    table: Path, classes: tuple[str, ...], splits: dict[str, Iterable[tuple[Path, int]]]
) -> None:
    """Images as a CSV that arcvit reads."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        for split, pairs in splits.items():
            for path, label in pairs:
                writer.writerow([path.resolve(), f"class {classes[label]}", split])


def accuracy(work: Path, table: Path, method: str, shots: int, seed: int) -> float:
    """Test accuracy of a run."""
    run = work / f"{table.stem}-{method.replace(':', '-')}-{shots}-{seed}"
    if not is_finished(run):
        arcvit.train(
            table,
            out=run,
            quiet=True,
            method=method,
            seed=seed,
            data={"shots": shots, "val_fraction": 0, "check": "skip"},
            engine={"checkpoint_every": 0},
        )
    found = read_result(run).test_accuracy
    assert found is not None
    return found


if __name__ == "__main__":
    main()

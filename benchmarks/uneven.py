"""A task of uneven classes, with and without weights.

    python benchmarks/uneven.py --data ../shared/data --work /tmp/uneven --seeds 0,1,2

The drawn shapes, with 300, 60, 20 and 8 training images of the four classes; the seed decides which
class has how many, and which images. The test images, at most --test, are as many of every class.
Prints accuracy, balanced accuracy and macro F1, means over the seeds with standard deviations.
Of a test set that is even, accuracy and balanced accuracy are the same; accuracy on a test set as
uneven as the training images is told beside, from the same predictions.
"""

import argparse
import random
import statistics
from collections import Counter
from pathlib import Path

import numpy as np
from shots import write_table

import arcvit
from arcvit.core.predictions import read_predictions
from arcvit.core.result import is_finished, read_result
from arcvit.data.readers.layouts import open_task

COUNTS = (300, 60, 20, 8)
WEIGHTS = {"none": None, "auto": "auto"}


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="Where tables and runs go.")
    parser.add_argument("--methods", default="linear,arc")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--augment", default="none", help="none lets linear learn on features.")
    options = parser.parse_args()
    columns = ("accuracy where uneven", "balanced accuracy", "macro F1", "recall of the rarest")
    print(f"{'method':9} {'weights':8} " + "  ".join(f"{name:21}" for name in columns))
    for method in options.methods.split(","):
        for name, weights in WEIGHTS.items():
            found = [
                measured(options, method, name, weights, int(seed))
                for seed in options.seeds.split(",")
            ]
            cells = [
                f"{statistics.fmean(values):.1f} ± "
                f"{statistics.stdev(values) if len(values) > 1 else 0:.1f}"
                for values in zip(*found, strict=True)
            ]
            print(f"{method:9} {name:8} " + "  ".join(f"{c:21}" for c in cells), flush=True)


def measured(
    options: argparse.Namespace, method: str, name: str, weights: str | None, seed: int
) -> tuple[float, float, float, float]:
    """Of a run, in percent: accuracy by the training shares, balanced accuracy, F1, and recall."""
    table = options.work / f"uneven-{seed}.csv"
    counts = long_tailed(options, table, seed)
    run = options.work / f"{method}-{name}-{seed}"
    if not is_finished(run):
        arcvit.train(
            table,
            out=run,
            quiet=True,
            method=method,
            seed=seed,
            data={"val_fraction": 0, "check": "skip", "augment": options.augment},
            optim={"class_weights": weights},
            engine={"checkpoint_every": 0},
        )
    metrics = read_result(run).metrics["test"]
    images = read_predictions(run)
    recall = {
        label: np.mean([image.is_right for image in images if image.label == label])
        for label in counts
    }
    uneven = sum(recall[label] * n for label, n in counts.items()) / counts.total()
    rarest = min(counts, key=counts.__getitem__)
    found = (uneven, metrics["balanced_accuracy"], metrics["macro_f1"], recall[rarest])
    return tuple(100 * float(value) for value in found)


def long_tailed(options: argparse.Namespace, table: Path, seed: int) -> Counter[str]:
    """Write the table of a seed; the images of each class to train on."""
    task = open_task(options.data / "fgvc/HandDrawnShapes")
    draws = random.Random(seed)
    classes = list(range(len(task.classes)))
    draws.shuffle(classes)
    splits: dict[str, list[tuple[Path, int]]] = {"train": [], "test": []}
    for split, counts in (("train", COUNTS), ("test", (options.test // 4,) * 4)):
        for label, count in zip(classes, counts, strict=True):
            images = [pair for pair in task.split(split) if pair[1] == label]
            draws.shuffle(images)
            splits[split] += images[:count]
    write_table(table, task.classes, splits)
    return Counter(f"class {task.classes[label]}" for _, label in splits["train"])


if __name__ == "__main__":
    main()

"""Images of several labels, a tenth with a wrong one: how many of the first N are right.

    python benchmarks/suspects_several.py --data ../shared/data --features /tmp/features

Two tasks: the shapes of ``arcvit data make`` (1,400 pictures, 8 labels), and groceries (2,936) by
the words that the names of two classes or more share, as Juice, Milk, Red. Each seed takes other
images and turns one label of each: half of the time one that it has, else one that it hasn't.
Columns are ways to rank by what the probe says; each is the share of the N most suspicious images,
N as many as were changed, that were; and that of those whose changed label is the one suggested.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from labelled import add_options
from suspects import SHARE

from arcvit.cli.main import main as arcvit
from arcvit.curate import probe
from arcvit.curate.confident import wrong_label_sets
from arcvit.curate.features import eye_of_backbone
from arcvit.curate.judge import labels_of
from arcvit.data.config import DataConfig
from arcvit.data.readers.layouts import open_task


def shapes(work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of made pictures, (N, d) and (N, K)."""
    if not (work / "shapes").is_dir():
        arcvit(["data", "make", "shapes", f"--out={work}", "--test_size=400"])
    config = DataConfig(path=str(work / "shapes" / "shapes.csv"))
    task = open_task(config.path, config.opening("multilabel"))
    images = task.every()
    eye = eye_of_backbone("demo", images.paths, config)
    return eye.look(images.paths, config).features, labels_of(images, len(task.classes))


def groceries(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """The same of photos, by words of their classes' names."""
    config = DataConfig(path=str(data / "grocery"))
    task = open_task(config.path)
    named = [set(name.split("-")) for name in task.classes]
    counts = Counter(word for words in named for word in words)
    shared = sorted(word for word, n in counts.items() if n > 1)
    images = task.trainval()
    eye = eye_of_backbone("demo", images.paths, config)
    has = np.array([[word in named[label] for word in shared] for label in images.labels])
    return eye.look(images.paths, config).features, has


def turned(truth: np.ndarray, draws: np.random.Generator) -> tuple[np.ndarray, dict[int, int]]:
    """Labels of which a tenth of the images has one wrong, and which."""
    spoilt, wrong = truth.copy(), {}
    for row in draws.choice(len(truth), round(SHARE * len(truth)), replace=False):
        takes = truth[row].any() and draws.random() < 0.5
        label = draws.choice(np.flatnonzero(truth[row] == takes))
        spoilt[row, label] ^= True
        wrong[int(row)] = int(label)
    return spoilt, wrong


def logit(p: np.ndarray) -> np.ndarray:
    """Of probabilities, kept from 0 and 1."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


def by_frequency(p: np.ndarray, truth: np.ndarray, weight: float) -> np.ndarray:
    """Suspicion where a label's frequency counts less, or not at all (weight 1)."""
    moved = logit(p) - weight * logit(truth.mean(0))
    return np.where(truth, -moved, moved)


def by_thresholds(p: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Suspicion less the thresholds of confident learning, the mean confidences."""
    present = np.array([p[truth[:, k], k].mean() for k in range(p.shape[1])])
    absent = np.array([1 - p[~truth[:, k], k].mean() for k in range(p.shape[1])])
    moved = (p - present) - (1 - p - absent)
    return np.where(truth, -moved, moved)


RANKINGS = {
    "probability": lambda p, truth: np.where(truth, 1 - p, p),
    "half frequency": lambda p, truth: by_frequency(p, truth, 0.5),
    "no frequency": lambda p, truth: by_frequency(p, truth, 1),
    "less thresholds": by_thresholds,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    names = "  ".join(f"{name:>16}" for name in RANKINGS)
    print(f"{'task':10} {'images':>6} {'wrong':>5} {'told':>9}  {names}")
    tasks = {"shapes": shapes(options.features), "grocery": groceries(options.data)}
    for task, (features, truth) in tasks.items():
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in RANKINGS}
        told = []
        for seed in range(options.seeds):
            draws = np.random.default_rng(seed)
            spoilt, wrong = turned(truth, draws)
            fold_of = draws.permutation(len(truth)) % probe.FOLDS
            p = probe.out_of_fold(features, spoilt, fold_of, truth.shape[1])
            told.append(wrong_label_sets(p, spoilt))
            for name, rank in RANKINGS.items():
                suspicion = rank(p, spoilt)
                first = np.argsort(-suspicion.max(1), kind="stable")[: len(wrong)].tolist()
                image = np.mean([row in wrong for row in first])
                label = np.mean([wrong.get(row) == suspicion[row].argmax() for row in first])
                found[name].append((float(image), float(label)))
        cells = "  ".join(
            "{:>8.3f} {:>7.3f}".format(*np.mean(pairs, axis=0)) for pairs in found.values()
        )
        estimate = f"{min(told):,}-{max(told):,}"
        print(f"{task:10} {len(truth):>6,} {len(wrong):>5,} {estimate:>9}  {cells}", flush=True)


if __name__ == "__main__":
    main()

"""A tenth of the labels swapped: how many of the first N suspects are right, N of them swapped.

    python benchmarks/suspects.py

Each seed swaps other labels of the training and validation images (cifar: of 10,000 test images,
as VTAB has ten a class) for any other class, all equally likely. The probe and its folds are those
of ``arcvit data suspects``; columns are ways to rank by what it says. Features are computed once
and kept; seconds are those of judging. ``--penalties`` tries other penalties of the probe.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from labelled import add_options, features

from arcvit.curate import probe
from arcvit.curate.confident import suspicion, thresholds, wrong_labels

SHARE = 0.1


def margin(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The paper's normalized margin, the other way round."""
    rows = np.arange(len(labels))
    others = p.copy()
    others[rows, labels] = -1
    return others.max(1) - p[rows, labels]


def adjusted(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The same of probabilities less the classes' thresholds."""
    least = thresholds(p, labels)
    moved = p - least + least.max()
    return margin(moved / moved.sum(1, keepdims=True), labels)


def prediction(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """By the most probable label alone, as a run's folds keep it."""
    return np.where(p.argmax(1) == labels, -1, 1) * p.max(1)


RANKINGS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ratio": lambda p, labels: suspicion(p, labels)[0],
    "self-confidence": lambda p, labels: -p[np.arange(len(labels)), labels],
    "margin": margin,
    "adjusted": adjusted,
    "prediction": prediction,
}


def swapped(
    labels: np.ndarray, k: int, draws: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which a tenth is another class, and which."""
    rows = draws.choice(len(labels), round(SHARE * len(labels)), replace=False)
    spoilt = labels.copy()
    spoilt[rows] = (labels[rows] + draws.integers(1, k, len(rows))) % k
    return spoilt, rows


def folds(labels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Equal shares of every class, (N,)."""
    order = draws.permutation(len(labels))
    found = np.empty(len(labels), np.int64)
    found[order[np.argsort(labels[order], kind="stable")]] = np.arange(len(labels)) % probe.FOLDS
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--penalties", nargs="+", type=float, default=[probe.INVERSE_PENALTY])
    parser.add_argument("--out", type=Path, help="Write every number as JSON.")
    options = parser.parse_args()
    rows = []
    names = "  ".join(f"{name:>15}" for name in RANKINGS)
    print(f"{'task':16} {'images':>6} {'wrong':>5} {'told':>9} {'C':>5}  {names}  {'seconds':>7}")
    for task in options.tasks:
        held = features(task, options.data, options.features)
        splits = ("test",) if task == "cifar" else ("train", "val")
        x = np.concatenate([held[split] for split in splits])
        labels = np.concatenate([held[f"{split} labels"] for split in splits])
        k = int(labels.max()) + 1
        for penalty in options.penalties:
            probe.INVERSE_PENALTY = penalty
            found: dict[str, list[float]] = {name: [] for name in RANKINGS}
            told, seconds = [], []
            for seed in range(options.seeds):
                draws = np.random.default_rng(seed)
                spoilt, wrong = swapped(labels, k, draws)
                start = time.perf_counter()
                p = probe.out_of_fold(x, spoilt, folds(spoilt, draws), k)
                told.append(wrong_labels(p, spoilt))
                seconds.append(time.perf_counter() - start)
                for name, rank in RANKINGS.items():
                    first = np.argsort(-rank(p, spoilt), kind="stable")[: len(wrong)]
                    found[name].append(float(np.isin(first, wrong).mean()))
            cells = "  ".join(f"{np.mean(v):>7.3f} ±{np.std(v):>6.3f}" for v in found.values())
            estimate = f"{min(told):,}-{max(told):,}"
            print(
                f"{task:16} {len(x):>6,} {len(wrong):>5,} {estimate:>9} {penalty:>5g}  {cells}"
                f"  {np.median(seconds):>7.1f}",
                flush=True,
            )
            record = {"task": task, "images": len(x), "wrong": len(wrong), "penalty": penalty}
            rows.append({**record, "told": told, "seconds": seconds, "precision": found})
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Labelling what ``arcvit data next`` chooses against labelling photos at random.

    python benchmarks/next.py --out next.json

From a few photos a class on, photos are labelled in rounds; in each a linear probe learns from
those labelled so far and is tested, then says how unsure it is of the others. The pool is the
training split, of cifar half of its 10,000 test images (the other half is tested on), as VTAB has
ten a class. Prints accuracy over photos labelled, and the mean over the rounds less that of random
choice with its standard error over seeds, which share the photos of the start. --picture draws it.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from labelled import add_options, features

from arcvit.curate.choose import choose, uncertainty
from arcvit.curate.probe import Probe, standardised

Choice = Callable[[np.ndarray, np.ndarray, int, int], list[int]]
"""Rows of the pool by inputs, probabilities, how many, and seed."""


def at_random(inputs: np.ndarray, p: np.ndarray, n: int, seed: int) -> list[int]:
    """Any photos."""
    return np.random.default_rng(seed).permutation(len(inputs))[:n].tolist()


def most_unsure(inputs: np.ndarray, p: np.ndarray, n: int, seed: int) -> list[int]:
    """The smallest margins, however alike."""
    return np.argsort(-uncertainty(p), kind="stable")[:n].tolist()


def only_different(inputs: np.ndarray, p: np.ndarray, n: int, seed: int) -> list[int]:
    """Clusters in which every photo weighs the same."""
    return choose(inputs, np.ones(len(inputs)), n, seed)


def next_photos(inputs: np.ndarray, p: np.ndarray, n: int, seed: int) -> list[int]:
    """What the command chooses."""
    return choose(inputs, uncertainty(p), n, seed)


CHOICES: dict[str, Choice] = {
    "random": at_random,
    "next": next_photos,
    "unsure": most_unsure,
    "different": only_different,
}


@dataclass(frozen=True)
class Course:
    """How much of a task is labelled: photos at the start, two or five a class; then a round."""

    start: int
    photos: int
    rounds: int

    @property
    def labelled(self) -> list[int]:
        """Photos labelled at the start and after each round."""
        return [self.start + self.photos * number for number in range(self.rounds + 1)]


COURSES = {
    "grocery": Course(162, 81, 5),
    "HandDrawnShapes": Course(20, 20, 8),
    "cifar": Course(200, 100, 6),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--choices", nargs="+", default=list(CHOICES), choices=list(CHOICES))
    parser.add_argument("--out", type=Path, help="Write every number as JSON.")
    parser.add_argument("--picture", type=Path, help="Draw the curves as PNG.")
    options = parser.parse_args()
    curves: dict[str, dict[str, np.ndarray]] = {}
    for task in options.tasks:
        course = COURSES[task]
        pool = _pool(task, features(task, options.data, options.features))
        k = int(pool[1].max()) + 1
        print(f"\n{task}: accuracy with so many photos labelled")
        print(
            f"{'':10}"
            + "".join(f"{count:>7}" for count in course.labelled)
            + "   mean less random's"
        )
        curves[task] = {}
        for name in options.choices:
            curve = np.array(
                [_curve(pool, CHOICES[name], course, k, seed) for seed in range(options.seeds)]
            )
            curves[task][name] = curve
            print(f"{name:10}" + "".join(f"{100 * a:7.1f}" for a in curve.mean(0)), end="")
            if name != "random" and "random" in curves[task]:
                gain = 100 * (curve - curves[task]["random"])[:, 1:].mean(1)
                error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else float("nan")
                print(f"   {gain.mean():+.1f} ± {error:.1f}", end="")
            print(flush=True)
    if options.out is not None:
        record = {t: {c: v.tolist() for c, v in of.items()} for t, of in curves.items()}
        options.out.write_text(json.dumps(record, indent=2), encoding="utf-8")
    if options.picture is not None:
        _draw(curves, options.picture)


def _pool(task: str, held: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Inputs and labels of the pool, then of the test images."""
    pool, test = (held["train"], held["train labels"]), (held["test"], held["test labels"])
    if task == "cifar":
        order = np.random.default_rng(0).permutation(len(test[1]))
        half = len(order) // 2
        pool, test = [tuple(rows[part] for rows in test) for part in (order[:half], order[half:])]
    return standardised(pool[0]), pool[1], standardised(test[0], like=pool[0]), test[1]


def _curve(
    pool: tuple[np.ndarray, ...], choice: Choice, course: Course, k: int, seed: int
) -> list[float]:
    """Test accuracy after each round."""
    x, labels, test, test_labels = pool
    has = np.zeros(len(x), bool)
    has[np.random.default_rng(seed).permutation(len(x))[: course.start]] = True
    curve = []
    for number in range(course.rounds + 1):
        probe = Probe(x[has], labels[has], k)
        curve.append(float((probe.probabilities(test).argmax(1) == test_labels).mean()))
        if number < course.rounds:
            rest = np.flatnonzero(~has)
            p = probe.probabilities(x[rest])
            has[rest[choice(x[rest], p, course.photos, 1000 * seed + number)]] = True
    return curve


def _draw(curves: dict[str, dict[str, np.ndarray]], file: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(4.2 * len(curves), 3.4), squeeze=False)
    for place, (task, of_task) in zip(axes[0], curves.items(), strict=True):
        course = COURSES[task]
        for name, curve in of_task.items():
            mean, error = 100 * curve.mean(0), 100 * curve.std(0) / np.sqrt(len(curve))
            (line,) = place.plot(course.labelled, mean, label=name, lw=2 if name == "next" else 1)
            band = (mean - error, mean + error)
            place.fill_between(course.labelled, *band, alpha=0.15, color=line.get_color())
        place.set(title=task, xlabel="photos labelled", ylabel="test accuracy, %")
    axes[0, 0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main()

"""How often the interval of an mAP holds the true one, on scores that are drawn.

    python benchmarks/intervals.py

Eight labels, on 6 to 45 % of the images, whose scores are normal and higher by 0.5 to 2 standard
deviations where an image has the label. What is told is in how many of a hundred data sets the true
mAP, that of 200,000 images, lies within the interval of ``arcvit compare``, and between the
quantiles of its samples.
"""

import argparse

import numpy as np

from arcvit.core.multilabel import mean_average_precision
from arcvit.recipe import compare_labels

SHARES, SEPARATIONS = np.linspace(0.06, 0.45, 8), np.linspace(0.5, 2, 8)


def drawn(images: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth, (images, 8) twice."""
    truth = generator.random((images, 8)) < SHARES
    return generator.normal(size=(images, 8)) + truth * SEPARATIONS, truth


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[40, 100, 400])
    parser.add_argument("--sets", type=int, default=120)
    parser.add_argument("--resamples", type=int, default=200)
    options = parser.parse_args()
    compare_labels.RESAMPLES = options.resamples
    generator = np.random.default_rng(0)
    true = mean_average_precision(*drawn(200_000, generator)) or 0.0
    print(f"{'images':>6}  {'interval':>8}  {'quantiles':>9}")
    for images in options.images:
        holds = np.zeros(2)
        for _ in range(options.sets):
            scores, truth = drawn(images, generator)
            (samples,) = compare_labels.bootstrapped([scores], truth)
            value = mean_average_precision(scores, truth) or 0.0
            ends = (compare_labels.interval(value, samples), np.quantile(samples, (0.025, 0.975)))
            holds += [low <= true <= high for low, high in ends]
        shares = 100 * holds / options.sets
        print(f"{images:>6}  {shares[0]:>7.0f}%  {shares[1]:>8.0f}%", flush=True)


if __name__ == "__main__":
    main()

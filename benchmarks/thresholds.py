"""Macro F1 by thresholds that are chosen on few images, of a run with several labels an image.

    arcvit data make shapes --out /tmp/made --test_size 400
    arcvit train /tmp/made/shapes/shapes.csv --task multilabel --method linear \\
        --data.augment none --out /tmp/made/run
    python benchmarks/thresholds.py /tmp/made/run

Of the validation and test images of the run, some are drawn to choose on and the others measured,
twenty times for each number: means and standard deviations in percent. PRIOR 0 is each label's own
cut.
"""

import argparse
from pathlib import Path

import numpy as np

from arcvit.core import thresholds
from arcvit.core.multilabel import multilabel_metrics
from arcvit.core.probabilities import read_probabilities
from arcvit.core.task import read_task


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--priors", type=int, nargs="+", default=[0, 5, thresholds.PRIOR])
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    said = read_probabilities(options.run, labels=len(read_task(options.run / "adapter").labels))
    held = [said[split] for split in ("val", "test")]
    probabilities = np.concatenate([one.probabilities for one in held])
    truth = np.concatenate([one.truth for one in held]).astype(bool)
    names = ["0.5", *(f"prior {prior}" for prior in options.priors)]
    print(f"{'images':>6}  " + "  ".join(f"{name:>12}" for name in names))
    for images in options.images:
        found: dict[str, list[float]] = {name: [] for name in names}
        for seed in range(options.draws):
            order = np.random.default_rng(seed).permutation(len(truth))
            few, rest = order[:images], order[images:]
            chosen: list[np.ndarray | None] = [None]
            for prior in options.priors:
                thresholds.PRIOR = prior
                chosen.append(thresholds.choose_thresholds(probabilities[few], truth[few]))
            for name, cuts in zip(names, chosen, strict=True):
                metrics = multilabel_metrics(probabilities[rest], truth[rest], cuts)
                found[name].append(100 * (metrics["macro_f1"] or 0))
        cells = [f"{np.mean(values):.1f} ± {np.std(values):.1f}" for values in found.values()]
        print(f"{images:>6}  " + "  ".join(f"{cell:>12}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()

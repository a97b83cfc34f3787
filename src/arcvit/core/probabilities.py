"""What a run of several labels an image says of every label: ``probabilities.npz``. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path

PROBABILITIES_FILE = "probabilities.npz"


@dataclass(frozen=True)
class LabelProbabilities:
    """Of a split of N images, in the order of ``predictions.csv``, and K labels.

    Attributes:
        probabilities: calibrated where the run is, ``float32`` (N, K).
        truth: whether each image has each label, (N, K).
    """

    probabilities: np.ndarray
    truth: np.ndarray


def write_probabilities(run: Path, splits: Mapping[str, LabelProbabilities]) -> None:
    """Write ``probabilities.npz`` into a run folder, atomically: both arrays of each split."""
    arrays: dict[str, np.ndarray] = {}
    for split, said in splits.items():
        arrays |= {f"{split}_probabilities": said.probabilities, f"{split}_truth": said.truth}
    with atomic_path(run / PROBABILITIES_FILE) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_probabilities(run: Path, *, labels: int) -> dict[str, LabelProbabilities]:
    """What a run says of every label, by split.

    Args:
        run: the run's folder.
        labels: number of its labels, K.

    Raises:
        UserError: the file isn't there, is damaged, or is of other labels.
    """
    file = run / PROBABILITIES_FILE
    try:
        with np.load(file, allow_pickle=False) as arrays:
            splits = [name.removesuffix("_truth") for name in arrays if name.endswith("_truth")]
            found = {
                split: LabelProbabilities(
                    arrays[f"{split}_probabilities"], arrays[f"{split}_truth"]
                )
                for split in splits
            }
    except Exception as error:  # of its own, the archive's, and whatever an odd header leads to
        raise UserError(
            f"{file} isn't there or is damaged: expected what a run of several labels an image"
            f" leaves, train it again ({type(error).__name__})."
        ) from error
    for split, said in found.items():
        probabilities, truth = said.probabilities, said.truth
        fits = probabilities.shape == truth.shape == (len(truth), labels) and truth.dtype == bool
        if not fits or not np.isfinite(probabilities).all():
            raise UserError(
                f"{file} is damaged: expected finite probabilities of {labels:,} labels for each"
                f" {split} image."
            )
    return found

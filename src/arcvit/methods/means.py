"""The classes' mean features beside an adapter, by which images are told that are like none.

K labels, d width of the features.
"""

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from arcvit.core.errors import UserError
from arcvit.methods.small_file import load_small

MEANS_FILE = "calibration.safetensors"
_KEY = "means"


def write_means(folder: Path, means: Tensor) -> None:
    """Write means (K, d) into an adapter's folder, 2 * K * d bytes."""
    safetensors.torch.save_file({_KEY: means.half().contiguous()}, folder / MEANS_FILE)


def read_means(folder: Path, *, labels: int, width: int | None) -> Tensor:
    """The means (K, d) of an adapter, in single precision.

    Args:
        folder: the adapter's.
        labels: number of labels, K.
        width: what the head reads, d; None: not known.

    Raises:
        UserError: the file isn't there, is damaged, or is of another model.
    """
    file = folder / MEANS_FILE
    if not file.is_file():
        raise UserError(
            f"{file} isn't there, by which images that are like no class are told: the adapter is"
            " damaged. Without calibration in task.json it goes without."
        )
    try:
        means = load_small(file)[_KEY]
    except Exception as error:  # its own errors, a missing key, and whatever an odd header leads to
        raise UserError(f"{file} is damaged: expected a safetensors file with {_KEY}.") from error
    fits = means.ndim == 2 and len(means) == labels and width in (None, means.shape[1])
    if not fits or means.dtype != torch.float16 or not bool(means.isfinite().all()):
        expected = f"({labels:,}, {'width of the features' if width is None else width})"
        raise UserError(
            f"{file}: {_KEY} is {str(means.dtype).removeprefix('torch.')} {tuple(means.shape)}:"
            f" expected finite float16 {expected}."
        )
    return means.float()

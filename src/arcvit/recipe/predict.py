"""Predictions one image after another: an image that can't be read doesn't keep the others back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from arcvit.data.pixels.decode import blank_rows, decode_into
from arcvit.recipe.adapter import LoadedAdapter

_BATCH_BYTES = 2**28
"""As much may a batch of decoded images take: an adapter can say that its images are huge."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What is said of one image file.

    Attributes:
        image: the file.
        problem: why it can't be read; None where it can.
        ranked: labels with their probabilities, the most probable first.
        blank: whether there is nothing to see on it.
    """

    image: Path
    problem: str | None = None
    ranked: tuple[tuple[str, float], ...] = ()
    blank: bool = False


def predict_each(
    loaded: LoadedAdapter, images: Sequence[Path], *, top: int, batch_size: int = 64
) -> Iterator[Prediction]:
    """The ``top`` labels of each image, batch by batch, in the order of the images."""
    prep = loaded.preprocessing
    batch_size = max(1, min(batch_size, _BATCH_BYTES // (3 * prep.stored[0] * prep.stored[1])))
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        pixels = torch.zeros((len(batch), 3, *prep.stored), dtype=torch.uint8)
        problems = decode_into(pixels, batch, prep)
        blank = set(blank_rows(pixels))
        readable = [row for row in range(len(batch)) if row not in problems]
        # Rows that couldn't be read stay out: the model needn't see them.
        best = loaded.probabilities(pixels[readable]).topk(min(top, len(loaded.labels)))
        ranked = {
            row: tuple(zip((loaded.labels[i] for i in labels), values, strict=True))
            for row, labels, values in zip(
                readable, best.indices.tolist(), best.values.tolist(), strict=True
            )
        }
        for row, image in enumerate(batch):
            if row in problems:
                yield Prediction(image=image, problem=problems[row])
            else:
                yield Prediction(image=image, ranked=ranked[row], blank=row in blank)

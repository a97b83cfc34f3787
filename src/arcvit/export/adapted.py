"""What every format is written from, and what it tells when it is written.

B images, K labels, d width of the features.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor, nn

from arcvit.backbones.logits import logits_of
from arcvit.core.errors import UserError
from arcvit.core.task import AdapterTask
from arcvit.data.pixels.preset import Preprocessing
from arcvit.export.folded import merged_model

TOLERANCE = 1e-4
"""Largest difference of logits, relative to their largest magnitude where that is above one."""


@dataclass(frozen=True, kw_only=True)
class AdaptedModel:
    """An adapted model with what its outputs mean, and images to compare on.

    Attributes:
        name: what the run is called; a file of several runs is named by it.
        model: a ``PeftModel`` on the CPU, or a plain one; it is not to be changed.
        task: what its outputs mean. The head's last layer was divided by the temperature, which
            is 1 here then: softmax of the logits gives the probabilities that predict gives.
        preprocessing: how images are prepared.
        images: prepared images, (B, 3, H, W).
        photos: the file of each of them; empty where the images are random numbers.
        expected: the model's logits on them, (B, K).
        means: the classes' mean features, (K, d); None where it isn't calibrated.
    """

    name: str
    model: nn.Module
    task: AdapterTask
    preprocessing: Preprocessing
    images: Tensor
    photos: tuple[str, ...]
    expected: Tensor
    means: Tensor | None = None

    @property
    def labels(self) -> list[str]:
        """Class names in the order of the logits."""
        return self.task.labels

    @property
    def base(self) -> nn.Module:
        """The backbone's own model, which the adapter is in."""
        return base_of(self.model)

    def folded(self) -> nn.Module:
        """A copy of the model with its adapter folded in: a plain model of timm or transformers.

        Raises:
            UserError: the adapter can't be folded.
        """
        return merged_model(copy.deepcopy(self.model))

    def compare(
        self,
        logits: Tensor,
        what: str,
        *,
        tolerance: float = TOLERANCE,
        advice: str = "please report this",
    ) -> float:
        """The largest absolute difference from the adapted model's logits.

        Args:
            logits: what came out on ``images``, (B, K).
            what: what they came out of, as "ONNX Runtime".
            tolerance: largest difference, relative to the largest logit where that is above one.
            advice: what to do where it is larger.

        Raises:
            UserError: it is larger; the sentence tells where.
        """
        if logits.shape != self.expected.shape:
            raise UserError(
                f"{what} gives {tuple(logits.shape)} logits where the adapted model gives"
                f" {tuple(self.expected.shape)}: nothing was written; please report this."
            )
        differences = (logits.float() - self.expected).abs()
        difference = differences.max().item()
        largest = self.expected.abs().max().item()
        if math.isfinite(largest) and difference <= tolerance * max(1.0, largest):
            return difference
        row, label = divmod(int(differences.nan_to_num(math.inf).argmax()), differences.shape[1])
        image = self.photos[row] if self.photos else f"random image {row}"
        raise UserError(
            f"{what} differs from the adapted model by {difference:.2g} in the logit of"
            f" {self.labels[label]!r} on {image}, more than rounding explains: nothing was"
            f" written; {advice}."
        )


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a format tells of what it wrote.

    Attributes:
        difference: the largest absolute difference of logits from the adapted model, as its own
            runtime gave them.
        loading: of the place where it lies at last, the lines that load it from there without
            arcvit.
        notes: sentences on what it can't hold, or what else must be known.
    """

    difference: float
    loading: Callable[[Path], str]
    notes: tuple[str, ...] = ()


@torch.inference_mode()
def logits_on(model: nn.Module, images: Tensor) -> Tensor:
    """Logits of a model in evaluation mode, (B, K)."""
    return logits_of(model.eval()(images)).float()


def base_of(model: nn.Module) -> nn.Module:
    """The model of timm or transformers that an adapter is in, or that was trained whole."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(base, nn.Module)
    return base

"""What a model comes to over a split."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator, DistributedType
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn

from arcvit.backbones.logits import logits_of
from arcvit.core.multilabel import multilabel_metrics
from arcvit.engine.batches import Batches, Prepare, inputs, on_device, widest_that_fits
from arcvit.engine.device import evaluation_batch
from arcvit.engine.objective import is_multilabel, losses
from arcvit.engine.runtime import Runtime

FOLD_FROM = 256
"""Images of a split from which folding and unfolding costs less than it gains."""

MOST_PROBABILITIES = 2**28
"""As many are kept of a split at most: 1 GB on the device."""

WHOLE_WEIGHTS = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
"""Where every process holds all weights, so that they can be folded into."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What came out of a pass over a split of one label an image.

    Attributes:
        accuracy: top-1, a fraction in [0, 1].
        loss: mean cross-entropy.
        predictions: predicted class of each image, (N,).
        labels: true class of each image, (N,).
        confidences: probability of the predicted class of each image, (N,), as softmax gives it.
        probabilities: of each image and class, (N, K), where asked for and not too many.
    """

    accuracy: float
    loss: float
    predictions: Tensor
    labels: Tensor
    confidences: Tensor
    probabilities: Tensor | None = None

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes that are there of the share of their images answered right."""
        images = self.labels.bincount()
        right = self.labels[self.predictions == self.labels].bincount(minlength=len(images))
        return (right[images > 0] / images[images > 0]).double().mean().item()

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that an image is of or is taken for, as scikit-learn has it."""
        classes = int(torch.cat([self.labels, self.predictions]).max()) + 1
        right = self.labels[self.predictions == self.labels].bincount(minlength=classes)
        sizes = self.labels.bincount(minlength=classes)
        sizes = sizes + self.predictions.bincount(minlength=classes)
        return (2 * right[sizes > 0] / sizes[sizes > 0]).double().mean().item()

    def metrics(self) -> dict[str, float | None]:
        """The metrics, by name; the first is the one that goes by default."""
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
        }


@dataclass(frozen=True, kw_only=True)
class MultilabelEvaluation:
    """What came out of a pass over a split whose images have any number of labels.

    Attributes:
        loss: mean binary cross-entropy.
        labels: 1 where an image has a label, else 0, (N, K).
        probabilities: of each image and label, (N, K), as the sigmoid gives them.
    """

    loss: float
    labels: Tensor
    probabilities: Tensor

    def metrics(
        self, thresholds: np.ndarray | None = None, *, temperature: float = 1.0
    ) -> dict[str, float | None]:
        """The metrics, by name; the first is the one that goes by default.

        Args:
            thresholds: from which calibrated probability on a label is given, (K,); None: 0.5.
            temperature: what the logits are divided by.
        """
        return multilabel_metrics(self.calibrated(temperature), self.labels.numpy(), thresholds)

    def calibrated(self, temperature: float) -> np.ndarray:
        """The probabilities (N, K) with the logits divided by a temperature."""
        return np.asarray((self.probabilities.logit() / temperature).sigmoid())


Outcome = Evaluation | MultilabelEvaluation
"""What came out of a pass, by whether images have one label or any number."""


def majority_share(labels: Tensor) -> float:
    """Share of the images (N,) that are of the most frequent class."""
    return labels.bincount().max().item() / len(labels)


def evaluate(
    model: nn.Module,
    batches: Batches,
    prepare: Prepare,
    accelerator: Accelerator,
    *,
    batch_size: int | None = None,
    fold_from: int = FOLD_FROM,
    keep_probabilities: bool = False,
    runtime: Runtime | None = None,
) -> Outcome:
    """One pass over a split in inference mode.

    The model is as it was afterwards: training mode, and weights bit for bit.

    Args:
        model: the adapted model.
        batches: images as stored, and labels.
        prepare: turns a stored batch on the device into the model's input.
        accelerator: device, precision, processes.
        batch_size: images in a forward pass; None: the widest that is of use and fits.
        fold_from: images of a split from which adapters are folded in for the pass.
        keep_probabilities: whether they are wanted of each image; above ``MOST_PROBABILITIES``
            there are none all the same. Of several labels an image they always are.
        runtime: how the model is executed; None: as PyTorch does.
    """
    inner = accelerator.unwrap_model(model)
    fold = len(batches) >= fold_from and accelerator.distributed_type in WHOLE_WEIGHTS
    was_training = model.training
    model.eval()

    processes = accelerator.num_processes
    widest = batch_size or evaluation_batch(accelerator.device)
    if processes > 1:  # what fills batches up is computed too
        widest = min(widest, math.ceil(len(batches) / processes))

    def run(one_size: bool) -> Outcome:
        return widest_that_fits(
            lambda size: _one_pass(
                model, batches, prepare, accelerator, size, keep_probabilities, one_size
            ),
            widest,
            processes=processes,
        )

    try:
        return (runtime or Runtime(inner)).evaluated(
            run, folded(inner, enabled=fold), images=len(batches)
        )
    finally:
        model.train(was_training)


@contextmanager
def folded(model: nn.Module, *, enabled: bool = True) -> Iterator[None]:
    """Within the context a model's active adapters are folded in, where that leaves no trace.

    That is where the tuner's layers have ``check_foldable``: they keep the weights they fold into
    and put them back, bit for bit. PEFT's own compute them back, and are left alone, as are
    adapters that are folded already, disabled, or can't be folded.
    """
    tuner = getattr(model, "base_model", None)
    if not enabled or not isinstance(tuner, BaseTuner) or not _can_fold(tuner):
        yield
        return
    # Weights made in inference mode couldn't be trained through afterwards.
    with torch.inference_mode(False):
        tuner.merge_adapter()
    try:
        yield
    finally:
        with torch.inference_mode(False):
            tuner.unmerge_adapter()


def _can_fold(tuner: BaseTuner) -> bool:
    layers = [module for module in tuner.modules() if isinstance(module, BaseTunerLayer)]
    # A tuner that has it runs the model where a layer alone couldn't tell.
    checks = [part.check_foldable for part in (*layers, tuner) if hasattr(part, "check_foldable")]
    if not checks or any(layer.merged or layer.disable_adapters for layer in layers):
        return False
    try:
        for check in checks:
            check()
    except ValueError:
        return False
    return True


@torch.inference_mode()
def _one_pass(
    model: nn.Module,
    batches: Batches,
    prepare: Prepare,
    accelerator: Accelerator,
    batch_size: int,
    keep_probabilities: bool,
    one_size: bool,
) -> Outcome:
    def filled_up(stored: Tensor) -> Tensor:
        """Where batches are of one size, the last row stands for those that miss."""
        missing = batch_size - len(stored)
        if one_size and missing:
            stored = torch.cat([stored, stored[-1:].expand(missing, *stored.shape[1:])])
        return prepare(stored)

    parts: list[list[Tensor]] = []
    stored = on_device(batches, batch_size, accelerator)
    for pixels, labels in inputs(stored, filled_up, accelerator.device):
        with accelerator.autocast():
            logits = logits_of(model(pixels))
        logits = logits[: len(labels)]
        loss = losses(logits.float(), labels)
        if is_multilabel(labels):
            parts.append(accelerator.gather_for_metrics([labels, loss, logits.float().sigmoid()]))
            continue
        probabilities = logits.float().softmax(-1)
        part = [logits.argmax(dim=-1), labels, loss, probabilities.amax(-1)]
        if keep_probabilities and len(batches) * probabilities.shape[-1] <= MOST_PROBABILITIES:
            part.append(probabilities)
        parts.append(accelerator.gather_for_metrics(part))
    gathered = [torch.cat(part) for part in zip(*parts, strict=True)]
    if len(gathered) == 3:
        truth, each, probabilities = gathered
        return MultilabelEvaluation(
            loss=each.double().mean().item(),
            labels=truth.cpu(),
            probabilities=probabilities.cpu(),
        )
    predictions, truth, each, confidences, *every = gathered
    return Evaluation(
        accuracy=(predictions == truth).double().mean().item(),
        loss=each.double().mean().item(),
        predictions=predictions.cpu(),
        labels=truth.cpu(),
        confidences=confidences.cpu(),
        probabilities=every[0].cpu() if every else None,
    )

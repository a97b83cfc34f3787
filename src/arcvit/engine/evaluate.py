"""Accuracy of a model over a split."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from torch import Tensor, nn

from arcvit.engine.batches import Batches, Prepare, loader


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What came out of a pass over a split.

    Attributes:
        accuracy: top-1, a fraction in [0, 1].
        loss: mean cross-entropy.
        predictions: predicted class of each image, (N,).
    """

    accuracy: float
    loss: float
    predictions: Tensor


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Batches,
    prepare: Prepare,
    accelerator: Accelerator,
    *,
    batch_size: int,
) -> Evaluation:
    """One pass over a split in inference mode; the model's training mode is restored after."""
    # Not accelerator.prepare: it would keep each loader for the next checkpoint.
    data = prepare_data_loader(
        loader(batches, batch_size, shuffle=False), device=accelerator.device, put_on_device=True
    )
    was_training = model.training
    model.eval()
    predictions, losses, correct = [], [], []
    try:
        for stored, labels in data:
            with accelerator.autocast():
                logits = model(prepare(stored))
            loss = F.cross_entropy(logits.float(), labels, reduction="none")
            predicted = logits.argmax(dim=-1)
            predicted, loss, hit = accelerator.gather_for_metrics(
                (predicted, loss, predicted == labels)
            )
            predictions.append(predicted)
            losses.append(loss)
            correct.append(hit)
    finally:
        model.train(was_training)
    return Evaluation(
        accuracy=torch.cat(correct).double().mean().item(),
        loss=torch.cat(losses).double().mean().item(),
        predictions=torch.cat(predictions).cpu(),
    )

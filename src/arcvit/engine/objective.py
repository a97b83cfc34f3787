"""What a step learns from labels, in the form that they have.

One label an image: classes ``int64`` (B,), cross-entropy. Any number of labels: a row of 0 and 1
each, floating-point (B, K), binary cross-entropy, the mean over images and labels. Padding, in
either form, is -100 and doesn't count.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = -100
"""The label of rows that don't count, which is cross_entropy's own."""


def is_multilabel(labels: Tensor) -> bool:
    """Whether labels are rows of 0 and 1, (B, K), and not classes, (B,)."""
    return labels.ndim == 2


def losses(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The loss of each image, (B,); 0 for padding.

    Args:
        logits: (B, K), in single precision.
        labels: (B,) or (B, K).
        label_smoothing: share of the target that is spread over all classes; of several labels,
            over having each and not having it.
    """
    if not is_multilabel(labels):
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    target = labels * (1 - label_smoothing) + label_smoothing / 2
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(-1)
    return torch.where(_counts(labels), each, 0.0)


def mean_loss(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean over the images that aren't padding, (); arguments as above."""
    if not is_multilabel(labels):
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    return losses(logits, labels, label_smoothing).sum() / _counts(labels).sum()


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """How many images are right, (): of several labels, all that are likelier than not, only."""
    if not is_multilabel(labels):
        return (logits.argmax(-1) == labels).sum()
    return ((logits > 0) == labels).all(-1).sum()


def guessing_loss(labels: Tensor, classes: int) -> float:
    """The loss of what says the same of every image: ``ln K``, or the labels' mean entropy.

    Args:
        labels: of the training images, (N,) or (N, K).
        classes: number of classes, K.
    """
    if not is_multilabel(labels):
        return math.log(classes)
    share = labels.double().mean(0)
    return F.binary_cross_entropy(share, share).item()


def _counts(labels: Tensor) -> Tensor:
    """Which rows aren't padding, (B,)."""
    return labels[:, 0] != PADDING

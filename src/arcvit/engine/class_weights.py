"""How much an image counts in the loss by its class, where classes are uneven.

K classes, N training images, n_c of them of class c.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from arcvit.core.errors import UserError, nearest
from arcvit.data.findings import examples
from arcvit.data.task import class_name

Asked = str | Mapping[str, float]
"""``auto``, or the weights of some classes by their names."""


def class_weights(asked: Asked, classes: Sequence[str], labels: Tensor) -> Tensor:
    """The weight of each class, (K,); the mean over the training images is 1.

    ``auto`` is ``N / (K n_c)``, scikit-learn's "balanced": every class weighs as much as the
    others. Of weights that are given, by which a class that isn't named has 1, only the ratios
    matter: divided by their mean over the images, they leave rates and clipping as they are.

    Args:
        asked: ``auto``, or weights by the names of classes.
        classes: names in the order of the labels.
        labels: of the training images, (N,).

    Raises:
        UserError: a class isn't there.
    """
    if not isinstance(asked, str):
        asked = {class_name(name): weight for name, weight in asked.items()}
    unknown = [] if isinstance(asked, str) else [name for name in asked if name not in classes]
    if unknown:
        raise UserError(
            f"optim.class_weights names {', '.join(map(repr, unknown))}: expected classes of the"
            f" task, which are {examples(classes, most=20)}.{nearest(unknown[0], classes)}"
        )
    images = torch.bincount(labels, minlength=len(classes)).double()
    if isinstance(asked, str):
        weights = 1 / images.clamp(min=1)
    else:
        weights = torch.tensor([float(asked.get(name, 1)) for name in classes]).double()
    return (weights * images.sum() / (weights * images).sum()).float()


def weighted_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy in which images count by their class, (); rows labelled -100 don't.

    Deviation from ``cross_entropy(weight=...)``: it divides by the number of images, not by the
    sum of their weights. In small batches that sum varies so much that a batch of frequent classes
    would weigh as much as one of rare ones.

    Args:
        logits: (B, K), in single precision.
        labels: (B,).
        weights: of the classes, (K,).
        label_smoothing: share of the target that is spread over all classes.
    """
    losses = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    return (losses * weights[labels.clamp(min=0)]).sum() / (labels >= 0).sum()

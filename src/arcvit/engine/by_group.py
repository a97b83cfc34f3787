"""Accuracy of what images show, where several show the same: a patient, an animal, a burst."""

from collections.abc import Sequence

import torch
from torch import Tensor

from arcvit.data.pixels.bank import ImageBank
from arcvit.data.task import ImageTask
from arcvit.engine.evaluate import Evaluation, Outcome


def group_accuracy(
    probabilities: Tensor, labels: Tensor, groups: Sequence[str]
) -> tuple[float, int]:
    """Top-1 of groups, each answered by the mean of its images' probabilities.

    Images of one group that have different labels are told apart by them.

    Args:
        probabilities: of each image and class, (N, K).
        labels: of each image, (N,).
        groups: of each image.

    Returns:
        The share of groups answered right, and how many there are.
    """
    pairs = list(zip(groups, labels.tolist(), strict=True))
    row_of = {pair: row for row, pair in enumerate(dict.fromkeys(pairs))}
    rows = torch.tensor([row_of[pair] for pair in pairs])
    sums = torch.zeros(len(row_of), probabilities.shape[1], dtype=torch.float64)
    sums.index_add_(0, rows, probabilities.double())
    truth = torch.tensor([label for _, label in row_of])
    return (sums.argmax(dim=1) == truth).double().mean().item(), len(row_of)


def accuracy_by_group(
    outcome: Outcome | None, task: ImageTask, images: ImageBank | None
) -> tuple[float | None, int] | None:
    """The same of a split's outcome; None without either.

    With several labels an image there is no accuracy, and the number of groups alone is told.
    """
    if outcome is None or images is None or not task.groups:
        return None
    groups = [task.groups[path] for path in images.paths]
    if not isinstance(outcome, Evaluation):
        return None, len(set(groups))
    if outcome.probabilities is None:
        return None
    return group_accuracy(outcome.probabilities, outcome.labels, groups)

"""What a linear probe says of each image that it wasn't fitted on.

N images, K classes, d width of the features.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from arcvit.data.readers.folds import fold, whole_groups
from arcvit.data.task import ImageTask, Split

FOLDS = 5
INVERSE_PENALTY = 6.0
"""scikit-learn's ``C``, for features of length 1 on average: chosen by benchmarks/suspects.py."""
_STEPS = 60


def out_of_fold(
    features: np.ndarray, labels: np.ndarray, fold_of: np.ndarray, k: int
) -> np.ndarray:
    """Probabilities of each image by the probe that was fitted on the other folds, (N, K).

    Args:
        features: (N, d).
        labels: index of each image's class, (N,), or whether it has each label, (N, K).
        fold_of: number of each image's fold, (N,).
        k: number of classes.
    """
    inputs = standardised(features)
    found = np.zeros((len(labels), k))
    for number in np.unique(fold_of):
        held = fold_of == number
        probe = Probe(inputs[~held], labels[~held], k)
        found[held] = probe.probabilities(inputs[held])
    return found


def standardised(features: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Features with mean 0 and equal variances, and length 1 on average: (N, d).

    Args:
        features: (N, d).
        like: those whose mean and variance count; None: the same.
    """
    like = features if like is None else like
    spread = like.std(0) * np.sqrt(features.shape[1])
    scaled: np.ndarray = (features - like.mean(0)) / np.maximum(spread, 1e-6)
    return scaled.astype(np.float32)


class Probe:
    """Logistic regression with an L2 penalty, by L-BFGS: what scikit-learn's minimises.

    Args:
        inputs: standardised features, (N, d).
        labels: (N,), or with several labels an image (N, K), each of which is a regression.
        k: number of classes; those without an image get no probability to speak of.
    """

    def __init__(self, inputs: np.ndarray, labels: np.ndarray, k: int) -> None:
        x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
        self._several = y.ndim > 1
        weight = torch.zeros(x.shape[1], k, requires_grad=True)
        bias = torch.zeros(k, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=_STEPS,
            tolerance_grad=1e-5,
            tolerance_change=1e-7,
            line_search_fn="strong_wolfe",
        )

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            penalty = weight.square().sum() / (2 * INVERSE_PENALTY * len(y))
            logits = x @ weight + bias
            if self._several:
                value = k * F.binary_cross_entropy_with_logits(logits, y.float()) + penalty
            else:
                value = F.cross_entropy(logits, y) + penalty
            value.backward()
            return value

        optimizer.step(loss)
        self._weight, self._bias = weight.detach(), bias.detach()

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """Of each class, (N, K)."""
        logits = (torch.from_numpy(inputs) @ self._weight + self._bias).double()
        return (logits.sigmoid() if self._several else logits.softmax(-1)).numpy()


def folds_of(task: ImageTask, images: Split, contents: Mapping[Path, str], seed: int) -> np.ndarray:
    """The fold of each image, (N,): equal shares of every class, groups and copies as a whole.

    A copy in another fold would confirm a wrong label.

    Args:
        task: says which images are of a group.
        images: those to divide.
        contents: a hash of each file.
        seed: another seed deals otherwise.
    """
    groups = {path: task.groups.get(path, contents[path]) for path in images.paths}
    whole = replace(task, splits={"train": images}, groups=groups)
    number = min(FOLDS, len(set(whole_groups(whole).values())))
    place = {path: row for row, path in enumerate(images.paths)}
    found = np.zeros(len(images), np.int64)
    for index in range(number) if number > 1 else ():
        held = fold(whole, index, folds=number, seed=seed).split("val")
        found[[place[path] for path in held.paths]] = index
    return found


def learnable(labels: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """Whether there are images of all its classes in another fold, for each image, (N,).

    Of the others the probe can't say whether they are of their class: it has never seen it.

    Args:
        labels: (N,) or (N, K).
        fold_of: number of each image's fold, (N,).
    """
    has = labels if labels.ndim > 1 else labels[:, None] == np.arange(labels.max() + 1)
    lone = np.array([len(set(fold_of[has[:, label]])) < 2 for label in range(has.shape[1])])
    return np.asarray(~has[:, lone].any(1))

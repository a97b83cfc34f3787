"""How far to believe a model: probabilities that mean what they say, and images it can't know.

N images, K labels, d width of the features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from arcvit.engine.objective import is_multilabel

COVERAGE = 0.95
"""Share of the validation images that are taken for known."""
_HALVINGS = 60
_TEMPERATURES = (0.05, 20.0)
"""Colder or hotter than that, labels or features are broken in a way no temperature mends."""


def temperature(logits: Tensor, labels: Tensor) -> float:
    """What to divide logits by so that their probabilities are as often right as they say.

    Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2),
    by the likelihood of the labels. Deviation: as if one image more had a label drawn at random, as
    Platt (1999) does, or a few images that are all right would make every probability 1.

    Args:
        logits: of images that weren't trained on, (N, K).
        labels: of each, (N,), where their softmax is meant; or rows of 0 and 1, (N, K), where
            their sigmoid is.
    """
    scores = logits.double()
    if is_multilabel(labels):
        target, chance = labels.double(), 0.5
    else:
        target, chance = F.one_hot(labels, scores.shape[1]).double(), 1 / scores.shape[1]
    doubt = 1 / (len(labels) + 1)
    wanted = (scores * ((1 - doubt) * target + doubt * chance)).sum(-1).mean()
    cold, hot = (torch.tensor(t, dtype=torch.float64).log().item() for t in _TEMPERATURES)
    for _ in range(_HALVINGS):
        middle = (cold + hot) / 2
        divided = scores / torch.e**middle
        probabilities = divided.sigmoid() if is_multilabel(labels) else divided.softmax(-1)
        expected = (scores * probabilities).sum(-1).mean()
        # The mean logit falls as it gets hotter; the likelihood is best where it is the labels'.
        cold, hot = (middle, hot) if expected > wanted else (cold, middle)
    return float(torch.e ** ((cold + hot) / 2))


def class_means(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean features of each class, (K, d); zeros of one without images.

    Args:
        features: of training images, (N, d).
        labels: of each, (N,) or (N, K); an image of several labels counts for each.
        classes: number of classes, K.
    """
    members = labels if is_multilabel(labels) else F.one_hot(labels, classes)
    members = members.to(features.dtype)
    return (members.T @ features) / members.sum(0).clamp(min=1)[:, None]


def likeness(features: Tensor, means: Tensor) -> Tensor:
    """How much each image is like the class it is most like, (N,): the largest cosine, in [-1, 1].

    Args:
        features: what the head reads, (N, d).
        means: of each class, (K, d).
    """
    return (F.normalize(features.float()) @ F.normalize(means.float()).T).amax(-1)


def threshold(scores: Tensor) -> float:
    """The score from which images count as known: ``COVERAGE`` of these (N,) do, or a few more."""
    return float(torch.quantile(scores.double(), 1 - COVERAGE, interpolation="lower"))

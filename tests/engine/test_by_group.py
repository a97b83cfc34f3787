import pytest
import torch

from arcvit.engine.by_group import group_accuracy
from arcvit.engine.evaluate import Evaluation, majority_share


def test_a_group_is_answered_by_the_mean_of_its_images() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    labels = torch.tensor([0, 0, 0, 1, 0])
    # One patient's three photos are right together, though two of them are wrong.
    groups = ["p1", "p1", "p1", "p2", "p3"]
    accuracy, count = group_accuracy(probabilities, labels, groups)
    assert (accuracy, count) == (pytest.approx(2 / 3), 3)


def test_images_of_a_group_with_two_labels_are_told_apart() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    assert group_accuracy(probabilities, torch.tensor([0, 1]), ["p", "p"]) == (1.0, 2)


@pytest.mark.parametrize(
    ("predictions", "labels", "balanced", "majority"),
    [
        ([0] * 20, [0] * 19 + [1], 0.5, 0.95),
        ([0, 1, 1], [0, 1, 1], 1.0, 2 / 3),
        ([2, 2, 2], [0, 2, 2], 0.5, 2 / 3),  # no image of class 1
    ],
)
def test_balanced_accuracy(
    predictions: list[int], labels: list[int], balanced: float, majority: float
) -> None:
    truth = torch.tensor(labels)
    answered = torch.tensor(predictions)
    sure = torch.ones(len(truth))
    outcome = Evaluation(accuracy=0, loss=0, predictions=answered, labels=truth, confidences=sure)
    assert outcome.balanced_accuracy == pytest.approx(balanced)
    assert majority_share(truth) == pytest.approx(majority)

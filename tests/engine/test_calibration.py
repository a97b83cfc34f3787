"""Temperatures, means and thresholds of numbers whose answer is known."""

import pytest
import torch

from arcvit.engine.calibration import class_means, likeness, temperature, threshold


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_a_temperature_is_found_again(true: float) -> None:
    """Labels are drawn from the softmax of logits, which are then too cold or too hot."""
    draw = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(8_000, 5, generator=draw)
    labels = logits.softmax(-1).multinomial(1, generator=draw)[:, 0]
    assert temperature(logits * true, labels) == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize("true", [0.5, 3.0])
def test_a_temperature_of_several_labels_is_found_again(true: float) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4_000, 3, generator=draw) - 1
    labels = (torch.rand(logits.shape, generator=draw) < logits.sigmoid()).float()
    assert temperature(logits * true, labels) == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize(("images", "surest"), [(10, 0.95), (1000, 0.9995)])
def test_a_few_right_answers_dont_make_certainty(images: int, surest: float) -> None:
    logits = 3 * torch.eye(4)[torch.arange(images) % 4]
    labels = torch.arange(images) % 4
    found = (logits / temperature(logits, labels)).softmax(-1).amax(-1)
    assert found.max().item() < surest
    assert found.max().item() > logits.softmax(-1).max().item() - 0.1


def test_labels_that_have_nothing_to_do_with_it() -> None:
    logits = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
    assert temperature(logits, logits.argmin(-1)) == pytest.approx(20, rel=1e-6)


def test_means_and_likeness() -> None:
    features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    means = class_means(features, torch.tensor([0, 0, 2]), 3)
    assert means.tolist() == [[2, 0], [0, 0], [0, 2]]
    several = class_means(features, torch.tensor([[1, 0], [1, 1], [0, 0.0]]), 2)
    assert several.tolist() == [[2, 0], [3, 0]]
    asked = torch.tensor([[5.0, 0.0], [1.0, 1.0], [-1.0, -1.0]])
    expected = [1, 0.5**0.5, 0]  # nothing is less like a class without images than 0
    assert likeness(asked, means).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("images", [1, 19, 20, 100, 101])
def test_a_threshold_keeps_what_it_should(images: int) -> None:
    scores = torch.randperm(images, generator=torch.Generator().manual_seed(0)).double()
    kept = (scores >= threshold(scores)).double().mean().item()
    assert 0.95 <= kept <= 0.95 + 1 / images

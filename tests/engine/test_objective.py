"""What is learned from labels, by their form."""

import math

import pytest
import torch
import torch.nn.functional as F

from arcvit.core.multilabel import multilabel_metrics
from arcvit.engine.config import EngineConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.evaluate import MultilabelEvaluation, evaluate
from arcvit.engine.objective import PADDING, guessing_loss, hits, losses, mean_loss

LOGITS = torch.tensor([[3.0, -1.0, 0.5], [-2.0, 1.0, -1.0], [0.2, 0.1, -4.0]])
SETS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_several_labels_is_binary_cross_entropy(smoothing: float) -> None:
    target = SETS * (1 - smoothing) + smoothing / 2
    expected = F.binary_cross_entropy(LOGITS.sigmoid(), target)
    assert mean_loss(LOGITS, SETS, smoothing).item() == pytest.approx(expected.item())
    assert losses(LOGITS, SETS, smoothing).mean().item() == pytest.approx(expected.item())
    assert hits(LOGITS, SETS).item() == 2  # the second image is given a label that it hasn't


@pytest.mark.parametrize("labels", [SETS, torch.tensor([0, 2, 1])], ids=["several", "one"])
def test_padding_does_not_count(labels: torch.Tensor) -> None:
    more = torch.full_like(labels[:1], PADDING)
    padded = torch.cat([labels, more]), torch.cat([LOGITS, torch.ones(1, 3)])
    assert mean_loss(padded[1], padded[0], 0.1) == pytest.approx(mean_loss(LOGITS, labels, 0.1))
    assert hits(padded[1], padded[0]) == hits(LOGITS, labels)


def test_guessing() -> None:
    assert guessing_loss(torch.tensor([0, 1, 2]), 4) == math.log(4)
    share = torch.tensor([2 / 3, 1 / 3, 1 / 3])
    expected = F.binary_cross_entropy(share.expand(3, 3), SETS)
    assert guessing_loss(SETS, 3) == pytest.approx(expected.item(), rel=1e-6)


def test_several_labels_are_measured_image_by_image(toy, features) -> None:  # type: ignore[no-untyped-def]
    accelerator = make_accelerator(EngineConfig(precision="fp32", device="cpu"), 0)
    bank, model = features(20, multilabel=True), toy()
    outcome = evaluate(model, bank, lambda stored: stored, accelerator, batch_size=7)
    logits = model(bank.features)
    assert isinstance(outcome, MultilabelEvaluation)
    assert outcome.loss == pytest.approx(mean_loss(logits, bank.labels).item())
    assert torch.equal(outcome.labels, bank.labels)
    torch.testing.assert_close(outcome.probabilities, logits.sigmoid())
    expected = multilabel_metrics(logits.sigmoid().detach().numpy(), bank.labels.numpy())
    assert outcome.metrics() == pytest.approx(expected)
    hotter = (logits.detach() / 2).sigmoid().numpy()
    assert outcome.calibrated(2.0) == pytest.approx(hotter, abs=1e-6)

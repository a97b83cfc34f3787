from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from arcvit.engine.config import EngineConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.evaluate import evaluate
from arcvit.engine.features import FeatureBank


@pytest.fixture
def accelerator() -> Accelerator:
    return make_accelerator(EngineConfig(precision="fp32", device="cpu", track=[]), 0)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 100])
def test_every_image_counts_once(
    accelerator: Accelerator,
    toy: Callable[..., nn.Module],
    features: Callable[..., FeatureBank],
    batch_size: int,
) -> None:
    bank, model = features(20), toy()
    outcome = evaluate(model, bank, lambda x: x, accelerator, batch_size=batch_size)
    logits = model(bank.features)
    assert torch.equal(outcome.predictions, logits.argmax(-1))
    assert outcome.accuracy == (logits.argmax(-1) == bank.labels).double().mean().item()
    assert outcome.loss == pytest.approx(F.cross_entropy(logits, bank.labels).item())


@pytest.mark.parametrize("training", [True, False])
def test_it_evaluates_and_restores_the_mode(
    accelerator: Accelerator,
    toy: Callable[..., nn.Module],
    features: Callable[..., FeatureBank],
    training: bool,
) -> None:
    model = toy(dropout=0.9).train(training)
    bank = features(20)
    one = evaluate(model, bank, lambda x: x, accelerator, batch_size=8)
    other = evaluate(model, bank, lambda x: x, accelerator, batch_size=8)
    assert one.loss == other.loss
    assert model.training is training


@pytest.mark.parametrize("training", [True, False])
def test_an_error_restores_the_mode_too(
    accelerator: Accelerator,
    toy: Callable[..., nn.Module],
    features: Callable[..., FeatureBank],
    training: bool,
) -> None:
    model = toy().train(training)

    def broken(stored: Tensor) -> Tensor:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        evaluate(model, features(8), broken, accelerator, batch_size=4)
    assert model.training is training


def test_nothing_is_drawn_and_nothing_kept(
    accelerator: Accelerator, toy: Callable[..., nn.Module], features: Callable[..., FeatureBank]
) -> None:
    model, bank = toy(), features(8)
    before = torch.get_rng_state()
    evaluate(model, bank, lambda x: x, accelerator, batch_size=4)
    assert torch.equal(torch.get_rng_state(), before)
    # A loader that accelerate kept would go into every checkpoint.
    assert accelerator._dataloaders == []

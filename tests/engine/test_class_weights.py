"""Weights of classes, and what they do to the loss."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from arcvit.core.errors import UserError
from arcvit.engine.class_weights import class_weights, weighted_loss
from arcvit.engine.config import OptimConfig
from arcvit.engine.features import FeatureBank
from arcvit.engine.step import AcceleratedStep

CLASSES = ("rust", "dent", "scratch")
LABELS = torch.tensor([0] * 6 + [1] * 3 + [2] * 1)


@pytest.mark.parametrize(
    ("asked", "ratios"),
    [
        ("auto", [1 / 6, 1 / 3, 1]),
        ({"scratch": 4}, [1, 1, 4]),
        ({"rust": 0.5, "dent": 2}, [0.5, 2, 1]),
    ],
)
def test_ratios_are_as_asked_and_the_mean_over_images_is_one(
    asked: str | dict[str, float], ratios: list[float]
) -> None:
    weights = class_weights(asked, CLASSES, LABELS)
    assert weights[LABELS].mean().item() == pytest.approx(1)
    torch.testing.assert_close(weights / weights[0], torch.tensor(ratios) / ratios[0])


def test_auto_is_what_scikit_learn_calls_balanced() -> None:
    torch.testing.assert_close(
        class_weights("auto", CLASSES, LABELS), torch.tensor([10 / 18, 10 / 9, 10 / 3])
    )


def test_a_class_without_images_is_no_division_by_zero() -> None:
    weights = class_weights("auto", (*CLASSES, "dirt"), LABELS)
    assert torch.isfinite(weights).all()
    assert weights[LABELS].mean().item() == pytest.approx(1)


def test_a_class_is_the_same_however_its_accents_are_composed() -> None:
    classes = ("caf\u00e9", "dent", "scratch")
    weights = class_weights({"cafe\u0301": 2}, classes, LABELS)
    assert weights[0] / weights[1] == pytest.approx(2)


def test_a_class_that_isnt_there() -> None:
    with pytest.raises(UserError) as caught:
        class_weights({"rsut": 2}, CLASSES, LABELS)
    assert "names 'rsut': expected classes of the task, which are rust, dent, scratch" in str(
        caught.value
    )
    assert str(caught.value).endswith("Did you mean 'rust'?")


@pytest.mark.parametrize("weight", [0, -1, float("nan")])
def test_a_weight_that_is_none(weight: float) -> None:
    with pytest.raises(UserError, match=r"optim\.class_weights\.rust is .*: expected"):
        OptimConfig(class_weights={"rust": weight})


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_each_image_counts_by_its_class_and_padding_not(smoothing: float) -> None:
    logits, weights = torch.randn(10, 3), torch.tensor([0.5, 1.0, 4.0])
    padded = torch.cat([LABELS, torch.tensor([-100, -100])])
    found = weighted_loss(
        torch.cat([logits, torch.full((2, 3), 9.0)]), padded, weights, label_smoothing=smoothing
    )
    losses = F.cross_entropy(logits, LABELS, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(found, (losses * weights[LABELS]).mean())
    alike = weighted_loss(logits, LABELS, torch.ones(3), label_smoothing=smoothing)
    torch.testing.assert_close(alike, F.cross_entropy(logits, LABELS, label_smoothing=smoothing))


def test_weights_reach_the_steps_of_a_trainer(
    trainer: Callable[..., object],
    toy: Callable[..., nn.Module],
    features: Callable[..., FeatureBank],
) -> None:
    model, bank = toy(), features(30)
    made = trainer(
        model,
        bank,
        optim=OptimConfig(lr=0.1),
        epochs=5,
        class_weights=torch.tensor([9, 1e-3, 1e-3]),
    )
    made.fit()  # type: ignore[attr-defined]
    assert (model(bank.features).argmax(-1) == 0).sum() > 20  # of 10
    step = made._run  # type: ignore[attr-defined]
    assert isinstance(step, AcceleratedStep)
    # What a CUDA graph would record.
    assert step.whole().class_weights is step.class_weights is not None

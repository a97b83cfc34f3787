"""What is kept is the mean over the last steps, however the run got there."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arcvit.engine.average import WeightAverage
from arcvit.engine.config import OptimConfig

Make = Callable[..., Any]


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_mean_of_the_last_steps(trainer: Make, toy: Make, features: Make, share: float) -> None:
    model, after = toy(), []
    made = trainer(
        model,
        features(24),
        optim=OptimConfig(lr=0.05, average=share),
        epochs=4,
        batch_size=8,
        accumulate=2,
    )
    made.on_step.append(lambda done, left: after.append((done, weights(model))))
    made.fit()
    # Three batches an epoch: a step after the second and after the third.
    steps = [found for done, found in after if done % 3 != 1]
    assert len(steps) == 8
    expected = torch.stack(steps[8 - max(1, round(share * 8)) :]).mean(0)
    assert torch.allclose(weights(model), expected, atol=1e-6)


def test_validation_measures_the_mean_and_leaves_training_as_it_is(
    trainer: Make, toy: Make, features: Make
) -> None:
    settings = {"epochs": 4, "batch_size": 8, "validate_every": 1}
    val = features(30, seed=1)
    plain = trainer(toy(), features(16), val=val, optim=OptimConfig(lr=0.05), **settings).fit()
    model = toy()
    optim = OptimConfig(lr=0.05, average=0.75)
    mean = trainer(model, features(16), val=val, optim=optim, **settings).fit()
    assert [r["train_loss"] for r in mean] == [r["train_loss"] for r in plain]
    assert mean[0]["val_loss"] == plain[0]["val_loss"]
    assert mean[1]["val_loss"] != plain[1]["val_loss"]
    with torch.no_grad():
        kept = F.cross_entropy(model.eval()(val.features), val.labels)
    assert mean[-1]["val_loss"] == pytest.approx(kept.item(), rel=1e-5)


def test_a_resumed_run_ends_the_same(
    trainer: Make, toy: Make, features: Make, tmp_path: Path
) -> None:
    settings = {"optim": OptimConfig(lr=0.05, average=0.7), "epochs": 6, "batch_size": 8}
    straight = toy()
    trainer(straight, features(16), checkpoint=tmp_path / "c", **settings).fit()
    shutil.rmtree(tmp_path / "c" / "epoch-6")
    model = toy()
    again = trainer(model, features(16), checkpoint=tmp_path / "c", **settings)
    assert len(again.history) == 5
    again.fit()
    assert torch.equal(weights(model), weights(straight))
    done = toy()
    trainer(done, features(16), checkpoint=tmp_path / "c", **settings).fit()
    assert torch.equal(weights(done), weights(straight))


@pytest.mark.parametrize(
    ("done", "means", "fits"),
    [
        (6, [], True),  # the last four of ten are averaged: it hasn't begun
        (7, [torch.ones(2), torch.ones(3)], True),
        (7, [], False),
        (7, [torch.ones(2)], False),
        (7, [torch.ones(2), torch.ones(3), torch.ones(1)], False),
        (7, [torch.ones(3), torch.ones(2)], False),
        (6, [torch.ones(2), torch.ones(3)], False),
    ],
)
def test_means_that_arent_these_parameters(done: int, means: list[Tensor], fits: bool) -> None:
    trained = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3))]
    average = WeightAverage(trained, share=0.4, steps=10)
    state = {"done": done, "means": means}
    if not fits:
        with pytest.raises(ValueError, match=f"aren't those of {done} steps of this model"):
            average.load_state_dict(state)
        state = {"done": 0, "means": []}  # it is as it was
    else:
        average.load_state_dict(state)
    assert average.state_dict().keys() == state.keys()
    assert average.state_dict()["done"] == state["done"]
    assert all(map(torch.equal, average.state_dict()["means"], state["means"]))

"""As many epochs as fit, and nothing is learned while that is found out."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from arcvit.engine import time_limit
from arcvit.engine.config import EngineConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.features import FeatureBank
from arcvit.engine.learner import Learner
from arcvit.engine.time_limit import epochs_that_fit

ENGINE = EngineConfig(epochs=30, batch_size=10, checkpoint_every=0, precision="fp32")


def same(batch: Tensor) -> Tensor:
    return batch


@pytest.fixture
def learner() -> Learner:
    torch.manual_seed(0)
    bank = FeatureBank(torch.randn(100, 8), torch.randint(3, (100,)))
    head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 3))
    return Learner(
        model=head, head=head, train=bank, training_input=same, val=bank, evaluation_input=same
    )


# An epoch is ten steps of a second; a look at 100 images takes 10 s, and there are about ten.
@pytest.mark.parametrize(
    ("room", "epochs"), [(10_000, 30), (385, 25), (190, 9), (25, 1), (15, 1), (-10, 1)]
)
def test_what_fits(
    learner: Learner, monkeypatch: pytest.MonkeyPatch, room: float, epochs: int
) -> None:
    monkeypatch.setattr(time_limit, "_pace", lambda step, device: 1.0)
    found, takes = epochs_that_fit(
        learner,
        make_accelerator(ENGINE, 0),
        ENGINE,
        seconds=(room + 2) / 0.95,
        batch_size=10,
        whole=learner,
        images_after=0,
    )
    assert found == epochs
    assert takes <= room or epochs == 1


def test_a_look_is_counted_by_its_images(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are fewer images than a batch takes, 100 of them take 20 looks at five."""
    monkeypatch.setattr(time_limit, "_pace", lambda step, device: 1.0)
    few = dataclasses.replace(
        learner, train=FeatureBank(torch.randn(5, 8), torch.randint(3, (5,))), val=None
    )
    found, _ = epochs_that_fit(
        few,
        make_accelerator(ENGINE, 0),
        ENGINE,
        seconds=(25.5 + 2) / 0.95,
        batch_size=10,
        whole=few,
        images_after=100,
    )
    assert found == 5


def test_nothing_is_learned(learner: Learner) -> None:
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    whole = dataclasses.replace(learner, model=copy.deepcopy(learner.model))
    drawn = torch.get_rng_state()
    learner.model.train()
    found, takes = epochs_that_fit(
        learner,
        make_accelerator(ENGINE, 0),
        ENGINE,
        seconds=3600,
        batch_size=10,
        whole=whole,
        images_after=100,
    )
    assert found == 30
    assert 0 < takes < 60
    assert torch.equal(torch.get_rng_state(), drawn)
    assert learner.model.training
    assert all(p.grad is None for p in learner.model.parameters())
    assert all(torch.equal(learner.model.state_dict()[n], value) for n, value in before.items())

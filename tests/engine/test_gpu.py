"""Captured and compiled steps on a GPU: what the stand-in of test_captured.py can't show."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arcvit.engine.batches import inputs, loader
from arcvit.engine.config import OptimConfig
from arcvit.engine.features import FeatureBank
from arcvit.engine.loop import Record
from arcvit.engine.mode import Plan
from arcvit.engine.runtime import Runtime

pytestmark = pytest.mark.gpu

Make = Callable[..., Any]
OPTIM = OptimConfig(lr=0.05, clip_grad=0.5, weight_decay=0.1)


class Waits(nn.Module):
    """Reads a value on the host, which a capture doesn't allow."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1.0 if x.sum().item() else 0.0)


def fit(
    train: Make, model: nn.Module, bank: FeatureBank, mode: Any, **settings: Any
) -> tuple[list[float], list[str]]:
    said: list[str] = []
    runtime = Runtime(model, Plan(mode=mode), say=said.append)
    with runtime.running():
        known = {"optim": OPTIM, "epochs": 3, "device": "cuda", "runtime": runtime}
        history: list[Record] = train(model, bank, val=bank, **known, **settings)
    return [value for r in history for value in (r["train_loss"], r["val_loss"])], said


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_captured_curves_are_those_of_eager_steps(
    train: Make, toy: Make, features: Make, accumulate: int, precision: str
) -> None:
    settings = {"batch_size": 7, "accumulate": accumulate, "precision": precision}
    eager, _ = fit(train, toy().cuda(), features(40), "off", **settings)
    found, said = fit(train, toy().cuda(), features(40), "capture", **settings)
    assert not said
    assert found == pytest.approx(eager, rel=1e-2 if precision == "bf16" else 1e-4)


def test_every_replay_draws_anew_and_a_resumed_run_draws_the_same(
    trainer: Make, toy: Make, features: Make, tmp_path: Path
) -> None:
    def captive(**more: Any) -> tuple[nn.Module, Any]:
        model = toy(dropout=0.5).cuda()
        runtime = Runtime(model, Plan(mode="capture"))
        known = {"epochs": 4, "batch_size": 8, "device": "cuda", "runtime": runtime}
        return model, trainer(model, features(40), optim=OPTIM, **known, **more)

    def end(history: list[Record]) -> None:
        if len(history) == 2:
            raise KeyboardInterrupt

    straight, made = captive()
    made.fit()
    _, killed = captive(checkpoint=tmp_path / "c")
    killed.on_epoch.append(end)
    with pytest.raises(KeyboardInterrupt):
        killed.fit()
    resumed, made = captive(checkpoint=tmp_path / "c")
    made.fit()
    for p, q in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)
    pixels, labels = features(8).__getitems__([*range(8)])
    losses = [made._run(pixels.cuda(), labels.cuda())[0].item() for _ in range(3)]
    assert len(set(losses)) == 3


def test_a_model_that_waits_for_the_device_runs_without(
    train: Make, toy: Make, features: Make
) -> None:
    model = toy().cuda()
    expected, _ = fit(train, toy().cuda(), features(40), "off", batch_size=8)
    model.dropout = Waits()
    found, said = fit(train, model, features(40), "capture", batch_size=8)
    assert len(said) == 1
    assert said[0].startswith("steps can't be captured, and run without: ")
    assert found == pytest.approx(expected, rel=1e-4)
    torch.rand(2, device="cuda")  # the generator isn't left in a capture


def test_batches_come_in_order_and_whole(features: Make) -> None:
    bank = features(1000)
    device = torch.device("cuda")
    stored = ((x.cuda(non_blocking=True), y.cuda()) for x, y in loader(bank, 7, shuffle=False))
    seen = []
    for pixels, labels in inputs(stored, lambda x: x + 1, device):
        torch.cuda._sleep(100_000)  # the step is slower than the copies
        seen.append((pixels * 2, labels))
    assert torch.equal(torch.cat([x for x, _ in seen]).cpu(), (bank.features + 1) * 2)
    assert torch.equal(torch.cat([y for _, y in seen]).cpu(), bank.labels)

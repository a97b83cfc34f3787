"""Compiled and captured steps in the trainer; what can't be done is left out or refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arcvit.core.errors import UserError
from arcvit.engine import captured
from arcvit.engine.config import EngineConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.evaluate import evaluate
from arcvit.engine.mode import Plan
from arcvit.engine.runtime import Runtime

# Dynamo looks at the gradient of tensors that are no leaves, and hides the warning itself.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")

Make = Callable[..., Any]


class Block(nn.Module):
    def __init__(self, *, breaks: bool) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.breaks = breaks
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling() and self.breaks:
            print("a call that can't be compiled")
        elif not torch.compiler.is_compiling():
            self.calls += 1
        return x + torch.tanh(self.inner(x))


class Stack(nn.Module):
    """Two blocks and a head."""

    def __init__(self, *, breaks: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.Sequential(Block(breaks=breaks), Block(breaks=breaks))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(x))
        return logits


def fit(train: Make, features: Make, model: Stack, plan: Plan, **more: Any) -> tuple[Any, ...]:
    said: list[str] = []
    runtime = Runtime(model, plan, say=said.append, backend="eager")
    with runtime.running():
        settings = {"epochs": 2, "batch_size": 8, "val": features(20, seed=1), "runtime": runtime}
        history = train(model, features(20), **settings, **more)
    return [(r["train_loss"], r["val_loss"]) for r in history], runtime.mode, said


@pytest.fixture
def eager(train: Make, features: Make) -> list[Any]:
    """The curve of the same run as PyTorch runs it."""
    return fit(train, features, Stack(), Plan())[0]


@pytest.mark.slow
def test_blocks_run_compiled_in_training_and_evaluation(
    train: Make, features: Make, eager: list[Any]
) -> None:
    model = Stack()
    curve, mode, said = fit(train, features, model, Plan(mode="blocks", asked=True))
    assert (mode, said) == ("blocks", [])
    assert curve == [pytest.approx(point, rel=1e-5) for point in eager]
    assert [block.calls for block in model.blocks] == [0, 0]
    # Undone: the next run in the process is as PyTorch runs it.
    model(torch.zeros(2, 6))
    assert [block.calls for block in model.blocks] == [1, 1]


def test_short_evaluations_of_a_run_that_nobody_asked_to_compile_run_eager(
    train: Make, features: Make, eager: list[Any]
) -> None:
    model = Stack()
    curve, mode, _ = fit(train, features, model, Plan(mode="blocks"))
    assert mode == "blocks"
    assert curve == [pytest.approx(point, rel=1e-5) for point in eager]
    assert [block.calls for block in model.blocks] == [2, 2]  # a batch in each validation


def test_a_block_that_cant_be_compiled(train: Make, features: Make, eager: list[Any]) -> None:
    curve, mode, said = fit(train, features, Stack(breaks=True), Plan(mode="blocks"))
    assert mode == "off"
    assert len(said) == 1
    assert said[0].startswith("the blocks of Stack can't be compiled, and run without: ")
    assert curve == eager
    with pytest.raises(UserError, match=r"the blocks of Stack can't be compiled .* auto"):
        fit(train, features, Stack(breaks=True), Plan(mode="blocks", asked=True))


def test_a_step_that_cant_be_captured(
    train: Make, features: Make, eager: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(function: Callable[[], Any]) -> Any:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(captured, "recorded", refuses)
    curve, mode, said = fit(train, features, Stack(), Plan(mode="capture"))
    assert mode == "off"
    assert said == [
        "steps can't be captured, and run without: operation not permitted when stream is capturing"
    ]
    assert curve == [pytest.approx(point, rel=1e-6) for point in eager]
    with pytest.raises(UserError, match=r"steps can't be captured .*--engine.compile auto"):
        fit(train, features, Stack(), Plan(mode="capture", asked=True))


def test_compiled_evaluation_takes_batches_of_one_size(features: Make) -> None:
    accelerator = make_accelerator(EngineConfig(precision="fp32", device="cpu"), 0)
    sizes: list[int] = []

    def watch(stored: Tensor) -> Tensor:
        sizes.append(len(stored))
        return stored

    model, bank = Stack(), features(20)
    runtime = Runtime(model, Plan(mode="blocks", asked=True), backend="eager")
    plain = evaluate(model, bank, lambda x: x, accelerator, batch_size=8)
    with runtime.running():
        found = evaluate(model, bank, watch, accelerator, batch_size=8, runtime=runtime)
    assert sizes == [8, 8, 8]
    assert torch.equal(found.predictions, plain.predictions)
    assert found.loss == pytest.approx(plain.loss)

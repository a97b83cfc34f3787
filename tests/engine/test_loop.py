import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from arcvit.engine import captured, loop
from arcvit.engine.config import OptimConfig
from arcvit.engine.features import FeatureBank
from arcvit.engine.loop import NonFiniteLoss, Record, Trainer
from arcvit.engine.mode import Plan
from arcvit.engine.runtime import Runtime

Toy = Callable[..., nn.Module]
Features = Callable[..., FeatureBank]
Train = Callable[..., list[Record]]


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """Learning rates of the groups at each optimizer step."""
    seen: list[list[float]] = []

    class Watched(torch.optim.AdamW):
        def step(self, *args: object, **kwargs: object) -> object:
            seen.append([group["lr"] for group in self.param_groups])
            return super().step(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(loop.torch.optim, "AdamW", Watched)
    return seen


@pytest.mark.parametrize(("accumulate", "steps_per_epoch"), [(1, 6), (2, 3), (4, 2), (9, 1)])
def test_warm_up_then_cosine_by_optimizer_steps(
    train: Train,
    toy: Toy,
    features: Features,
    rates: list[list[float]],
    accumulate: int,
    steps_per_epoch: int,
) -> None:
    optim = OptimConfig(lr=0.1, warmup=0.25, head_lr=3.0)
    train(toy(), features(48), optim=optim, epochs=4, batch_size=8, accumulate=accumulate)
    steps = 4 * steps_per_epoch
    assert len(rates) == steps
    warm = round(0.25 * steps)
    for step, found in enumerate(rates):
        if step < warm:
            share = step / warm
        else:
            share = 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
        # The groups are body and head, in the order of the parameters.
        assert found == pytest.approx([0.1 * share, 0.3 * share])


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_no_warm_up_and_nothing_but_warm_up(
    train: Train, toy: Toy, features: Features, rates: list[list[float]], warmup: float
) -> None:
    train(toy(), features(16), optim=OptimConfig(lr=0.1, warmup=warmup), epochs=4, batch_size=8)
    assert rates[0][0] == (0.1 if warmup == 0 else 0)
    rising = [rate[0] for rate in rates]
    assert rising == sorted(rising, reverse=warmup == 0)


def test_it_learns(train: Train, toy: Toy, features: Features) -> None:
    history = train(toy(), features(90), epochs=15, batch_size=16)
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]
    assert history[-1]["train_accuracy"] > 0.8


def test_metrics_are_means_over_images(train: Train, toy: Toy, features: Features) -> None:
    bank = features(20)
    optim = OptimConfig(lr=1e-20)
    (record,) = train(toy(), bank, optim=optim, epochs=1, batch_size=16)
    logits = toy()(bank.features)
    assert record["train_loss"] == pytest.approx(F.cross_entropy(logits, bank.labels).item())
    hits = (logits.argmax(-1) == bank.labels).double().mean().item()
    assert record["train_accuracy"] == pytest.approx(hits)


def test_label_smoothing(train: Train, toy: Toy, features: Features) -> None:
    bank = features(32)
    optim = OptimConfig(lr=1e-20)
    (record,) = train(toy(), bank, optim=optim, epochs=1, batch_size=32, label_smoothing=0.3)
    expected = F.cross_entropy(toy()(bank.features), bank.labels, label_smoothing=0.3).item()
    assert record["train_loss"] == pytest.approx(expected)


def test_seeds(train: Train, toy: Toy, features: Features) -> None:
    def end(seed: int) -> list[Tensor]:
        model = toy(dropout=0.2)
        train(model, features(50), seed=seed, epochs=2, batch_size=8)
        return list(model.parameters())

    zero, again, one = end(0), end(0), end(1)
    assert all(torch.equal(a, b) for a, b in zip(zero, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(zero, one, strict=True))


def test_seeds_dont_share_orders(train: Train, toy: Toy, features: Features) -> None:
    bank = FeatureBank(torch.arange(8.0)[:, None].expand(8, 6), features(8).labels)

    def orders(seed: int) -> list[list[float]]:
        seen: list[float] = []

        def watch(stored: Tensor) -> Tensor:
            seen.extend(stored[:, 0].tolist())
            return stored

        train(toy(), bank, seed=seed, epochs=4, batch_size=8, prepare=watch)
        return [seen[i : i + 8] for i in range(0, 32, 8)]

    found = [order for seed in range(4) for order in orders(seed)]
    assert all(sorted(order) == list(range(8)) for order in found)
    assert len({tuple(order) for order in found}) == len(found)


@pytest.mark.parametrize(
    ("epochs", "every", "expected"),
    [
        (5, 1, [1, 2, 3, 4, 5]),
        (5, 2, [2, 4, 5]),
        (5, 0, [5]),
        (5, 9, [5]),
        (5, None, [1, 2, 3, 4, 5]),
        (35, None, [*range(3, 34, 3), 35]),  # about ten
    ],
)
def test_validation_is_due(
    train: Train, toy: Toy, features: Features, epochs: int, every: int, expected: list[int]
) -> None:
    history = train(
        toy(),
        features(8),
        val=features(5, seed=1),
        epochs=epochs,
        batch_size=8,
        validate_every=every,
    )
    for key in ("val_accuracy", "val_loss", "val_seconds"):
        assert [r["epoch"] for r in history if r[key] is not None] == expected


class Reads(TorchDispatchMode):
    """Counts values read on the host: on a GPU each would wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        host = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        self.count += func in host
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", ["off", "capture"])
def test_a_step_reads_nothing(
    train: Train, toy: Toy, features: Features, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    monkeypatch.setattr(captured, "recorded", lambda function: function)

    def reads(batch_size: int) -> int:
        model = toy()
        runtime = Runtime(model, Plan(mode=mode))
        with Reads() as seen:
            train(model, features(64), epochs=1, batch_size=batch_size, runtime=runtime)
        return seen.count

    # As many values are read in an epoch of 2 steps as in one of 16.
    assert reads(32) == reads(4)


def test_who_listens_hears_of_steps_and_epochs(
    trainer: Callable[..., Trainer], toy: Toy, features: Features, tmp_path: Path
) -> None:
    def heard() -> tuple[list[int], list[int]]:
        steps: list[int] = []
        epochs: list[int] = []
        made = trainer(toy(), features(16), epochs=3, batch_size=8, checkpoint=tmp_path / "c")
        made.on_step.append(lambda done, left: steps.append(done))
        made.on_epoch.append(lambda history: epochs.append(len(history)))
        made.fit()
        return steps, epochs

    assert heard() == ([1, 2, 3, 4, 5, 6], [1, 2, 3])
    # Resumed after the last epoch, it tells what was done and trains no more.
    assert heard() == ([], [3])


def frozen_body(model: nn.Module) -> nn.Module:
    model.get_submodule("body").requires_grad_(False)
    return model


def test_frozen_parameters_stay(train: Train, toy: Toy, features: Features) -> None:
    model = frozen_body(toy())
    optim = OptimConfig(lr=0.1, weight_decay=0.5)
    train(model, features(32), optim=optim, epochs=2, batch_size=8)
    assert torch.equal(model.get_parameter("body.weight"), toy().get_parameter("body.weight"))
    assert not torch.equal(model.get_parameter("head.weight"), toy().get_parameter("head.weight"))


def broken_after(batches: int) -> Callable[[Tensor], Tensor]:
    """Inputs that are infinite from a batch on."""
    count = 0

    def prepare(stored: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return stored * math.nan if count > batches else stored

    return prepare


def test_nan_names_step_and_epoch(train: Train, toy: Toy, features: Features) -> None:
    with pytest.raises(NonFiniteLoss) as caught:
        train(toy(), features(32), prepare=broken_after(6), epochs=3, batch_size=8)
    said = str(caught.value)
    assert "the loss became nan at step 3 of epoch 2: training stopped" in said
    assert "there is no earlier state" in said
    assert "--optim.lr" in said


def test_nan_keeps_the_last_good_state(
    train: Train, toy: Toy, features: Features, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    with pytest.raises(NonFiniteLoss, match=f"the last good epoch is in {folder}/epoch-2"):
        train(
            toy(),
            features(32),
            prepare=broken_after(10),
            epochs=9,
            batch_size=8,
            checkpoint=folder,
        )
    # With the cause gone it goes on after epoch 2, and ends where it would have.
    model, straight = toy(), toy()
    train(model, features(32), epochs=9, batch_size=8, checkpoint=folder)
    train(straight, features(32), epochs=9, batch_size=8)
    for a, b in zip(model.parameters(), straight.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_that_breaks_after_its_loss_was_read(
    train: Train, toy: Toy, features: Features, tmp_path: Path
) -> None:
    # One step an epoch: the loss of epoch 1 is fine, the weights after it are not.
    optim = OptimConfig(lr=3e38, warmup=0.0, clip_grad=0.0, head_lr=1e4)
    with pytest.raises(NonFiniteLoss, match="became infinite in the last step of epoch 1"):
        train(
            toy(),
            features(8),
            optim=optim,
            epochs=3,
            batch_size=8,
            checkpoint=tmp_path / "checkpoint",
        )
    assert not (tmp_path / "checkpoint").exists()


def test_a_broken_validation_loss(
    train: Train, toy: Toy, features: Features, tmp_path: Path
) -> None:
    broken = FeatureBank(torch.full((4, 6), math.nan), torch.zeros(4, dtype=torch.long))
    with pytest.raises(NonFiniteLoss, match="the validation loss became nan after epoch 1"):
        train(
            toy(),
            features(8),
            epochs=3,
            batch_size=8,
            val=broken,
            checkpoint=tmp_path / "checkpoint",
        )
    assert not (tmp_path / "checkpoint").exists()

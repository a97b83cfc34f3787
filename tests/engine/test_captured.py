"""A captured step on the CPU: a stand-in for the CUDA graph calls the step again.

All that makes a capture different is there: buffers that stay, rows of padding, rates in tensors,
gradients that stay where they are, results that the next replay overwrites.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn

from arcvit import ArcConfig
from arcvit.backbones.build import build_backbone
from arcvit.engine import captured
from arcvit.engine.captured import CapturedStep
from arcvit.engine.config import EngineConfig, OptimConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.evaluate import evaluate
from arcvit.engine.features import FeatureBank
from arcvit.engine.loop import Record, Trainer
from arcvit.engine.mode import Plan
from arcvit.engine.runtime import Runtime
from arcvit.engine.step import Step

AUTOCAST = partial(torch.autocast, "cpu", dtype=torch.bfloat16)
Make = Callable[..., Any]


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], Any]]:
    """Stands in for CUDA graphs; what was recorded since."""
    seen: list[Callable[[], Any]] = []

    def recorded(function: Callable[[], Any]) -> Callable[[], Any]:
        held: list[Tensor] = []

        def replay() -> Any:
            results = function()
            if results is None:
                return None
            if not held:
                held.extend(results)
            for static, result in zip(held, results, strict=True):
                static.copy_(result)
            return tuple(held)

        seen.append(replay)
        return replay

    monkeypatch.setattr(captured, "recorded", recorded)
    return seen


CASES = [
    pytest.param({"batch_size": 8}, id="whole batches"),
    pytest.param({"batch_size": 7}, id="padding"),
    pytest.param({"batch_size": 64}, id="one short batch"),
    pytest.param({"batch_size": 8, "accumulate": 2}, id="accumulation"),
    pytest.param({"batch_size": 7, "accumulate": 3}, id="accumulation and padding"),
    pytest.param({"batch_size": 7, "label_smoothing": 0.2}, id="label smoothing"),
    pytest.param(
        {"batch_size": 7, "accumulate": 3, "label_smoothing": 0.2, "multilabel": True},
        id="several labels",
    ),
]


@pytest.mark.parametrize("settings", CASES)
def test_curves_are_those_of_eager_steps(
    train: Make,
    toy: Make,
    features: Make,
    recordings: list[Callable[[], Any]],
    settings: dict[str, Any],
) -> None:
    optim = OptimConfig(lr=0.05, head_lr=3.0, clip_grad=0.5, weight_decay=0.1, average=0.6)

    def fit(mode: str) -> tuple[nn.Module, list[Record]]:
        model = toy()
        runtime = Runtime(model, Plan(mode=mode))  # type: ignore[arg-type]
        engine = dict(settings)
        multilabel = engine.pop("multilabel", False)
        bank = features(40, multilabel=multilabel)
        val = features(12, seed=1, multilabel=multilabel)
        return model, train(model, bank, val=val, optim=optim, epochs=2, runtime=runtime, **engine)

    (eager, one), (captive, other) = fit("off"), fit("capture")
    assert len(recordings) == (1 if settings.get("accumulate", 1) == 1 else 2)
    timed = {"seconds", "images_per_second", "val_seconds", "seconds_left"}
    for a, b in zip(one, other, strict=True):
        for key in a.keys() - timed:
            assert a[key] == pytest.approx(b[key], rel=1e-5), key
    for p, q in zip(eager.parameters(), captive.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_a_resumed_run_ends_as_one_that_went_through(
    trainer: Make,
    train: Make,
    toy: Make,
    features: Make,
    recordings: list[Callable[[], Any]],
    tmp_path: Any,
) -> None:
    settings = {"epochs": 4, "batch_size": 7, "accumulate": 2}

    def captive(**more: Any) -> tuple[nn.Module, Trainer]:
        model = toy(dropout=0.3)
        runtime = Runtime(model, Plan(mode="capture"))
        return model, trainer(model, features(40), runtime=runtime, **settings, **more)

    straight, made = captive()
    expected = made.fit()
    _, killed = captive(checkpoint=tmp_path / "c")

    def kill(history: list[Record]) -> None:
        if len(history) == 2:
            raise KeyboardInterrupt

    killed.on_epoch.append(kill)
    with pytest.raises(KeyboardInterrupt):
        killed.fit()
    resumed, made = captive(checkpoint=tmp_path / "c")
    found = made.fit()
    for p, q in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)
    assert [r["train_loss"] for r in found] == [r["train_loss"] for r in expected]


def test_gradients_of_several_batches_stay_where_they_are(
    arc: nn.Module, recordings: list[Callable[[], Any]]
) -> None:
    step = captive_step(arc, accumulate=2)
    before = {name: p.grad.data_ptr() for name, p in arc.named_parameters() if p.grad is not None}
    step(*pictures(4), 0.5, last=False)
    step(*pictures(3), 0.5)
    after = {name: p.grad.data_ptr() for name, p in arc.named_parameters() if p.grad is not None}
    assert before
    assert after == before


def pictures(rows: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(rows)
    return torch.randn(rows, 3, 32, 32, generator=draws), torch.arange(rows) % 4


@pytest.fixture
def arc(tiny: Any) -> nn.Module:
    model = build_backbone(str(tiny), num_classes=4).model
    torch.manual_seed(0)
    config = ArcConfig(r=4, init_weights=False, modules_to_save=["head"])
    adapted = get_peft_model(model, config).train()
    nn.init.normal_(adapted.get_submodule("base_model.model.head").weight)  # it starts from zeros
    return adapted


def captive_step(model: nn.Module, **settings: Any) -> CapturedStep:
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1, fused=True)
    step = Step(model=model, optimizer=optimizer, autocast=AUTOCAST)
    return CapturedStep(step, *pictures(4), **settings)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_warming_up_leaves_no_trace(
    arc: nn.Module, recordings: list[Callable[[], Any]], accumulate: int
) -> None:
    before = {name: p.detach().clone() for name, p in arc.named_parameters()}
    random = torch.get_rng_state()
    step = captive_step(arc, accumulate=accumulate)
    assert all(torch.equal(p, before[name]) for name, p in arc.named_parameters())
    assert torch.equal(torch.get_rng_state(), random)
    values = [v for entries in step._step.optimizer.state.values() for v in entries.values()]
    assert values
    assert not any(bool(value.any()) for value in values)
    assert all(p.grad is None or not bool(p.grad.any()) for p in arc.parameters())


CHANGES: dict[str, Callable[[Any], object]] = {
    "a flag": lambda model: model.head.requires_grad_(False),
    "a mode": lambda model: model.blocks[0].eval(),
    "an adapter": lambda model: model.base_model.disable_adapter_layers(),
    "a place": lambda model: setattr(model.pos_embed, "data", model.pos_embed.data.clone()),
    "a load": lambda model: model.load_state_dict(
        {name: tensor.clone() for name, tensor in model.state_dict().items()}, assign=True
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_the_model_ends_the_capture(
    arc: nn.Module, recordings: list[Callable[[], Any]], change: str
) -> None:
    step = captive_step(arc)
    step(*pictures(4))
    assert step.is_current()
    CHANGES[change](arc)
    assert not step.is_current()


def test_evaluation_leaves_the_capture_as_it_is(
    arc: nn.Module, recordings: list[Callable[[], Any]]
) -> None:
    runtime = Runtime(arc, Plan(mode="capture", frozen=torch.bfloat16))
    accelerator = make_accelerator(EngineConfig(precision="bf16", device="cpu"), 0)
    bank = FeatureBank(*pictures(12))
    with torch.no_grad():
        plain = evaluate(arc, bank, lambda x: x, accelerator, fold_from=1)
    with runtime.running():
        step = captive_step(arc)
        assert arc.blocks[0].mlp.fc1.weight.dtype == torch.bfloat16
        found = evaluate(arc, bank, lambda x: x, accelerator, fold_from=1, runtime=runtime)
        assert step.is_current()
    # Folded into the original weights, not into those in bf16.
    assert found.loss == plain.loss
    assert arc.blocks[0].mlp.fc1.weight.dtype == torch.float32

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from arcvit import ArcConfig
from arcvit.backbones.build import build_backbone
from arcvit.engine.config import EngineConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.evaluate import Evaluation, evaluate, folded
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


def test_half_the_batch_where_memory_ends(
    accelerator: Accelerator, toy: Callable[..., nn.Module], features: Callable[..., FeatureBank]
) -> None:
    sizes: list[int] = []

    def small_device(stored: Tensor) -> Tensor:
        sizes.append(len(stored))
        if len(stored) > 5:
            raise torch.OutOfMemoryError
        return stored

    bank, model = features(12), toy()
    outcome = evaluate(model, bank, small_device, accelerator, batch_size=16)
    assert sizes == [12, 8, 4, 4, 4]
    assert torch.equal(outcome.predictions, model(bank.features).argmax(-1))


class Pixels(FeatureBank):
    """Random pictures for the tiny backbone."""

    def __init__(self, count: int) -> None:
        draws = torch.Generator().manual_seed(3)
        pictures = torch.randn(count, 3, 32, 32, generator=draws)
        super().__init__(pictures, torch.arange(count) % 4)


@pytest.fixture
def arc(tiny: Path) -> PeftModel:
    """An ARC adapter that changes the outputs, on the tiny backbone."""
    built = build_backbone(str(tiny), num_classes=4)
    torch.manual_seed(1)
    model = get_peft_model(built.model, ArcConfig(r=8, modules_to_save=["head"]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".arc_" in name or "head" in name:
                nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("inference", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_folded_for_the_pass_and_exactly_restored(
    accelerator: Accelerator, arc: PeftModel, training: bool, inference: bool
) -> None:
    bank = Pixels(12)
    arc.train(training)
    before = {name: tensor.clone() for name, tensor in arc.state_dict().items()}
    flags = {name: p.requires_grad for name, p in arc.named_parameters()}
    addresses = {name: p.data_ptr() for name, p in arc.named_parameters()}
    seen: list[bool] = []

    def watch(stored: Tensor) -> Tensor:
        seen.append(any(getattr(m, "merged", False) for m in arc.base_model.modules()))
        return stored

    plain = evaluate(arc, bank, watch, accelerator, fold_from=13)
    with torch.inference_mode(inference):
        fold = evaluate(arc, bank, watch, accelerator, fold_from=12)
    assert seen == [False, True]
    assert fold.loss == pytest.approx(plain.loss, abs=1e-5)
    assert torch.equal(fold.predictions, plain.predictions)
    after = arc.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert {name: p.requires_grad for name, p in arc.named_parameters()} == flags
    # A captured training step goes on reading where they lay.
    assert {name: p.data_ptr() for name, p in arc.named_parameters()} == addresses
    assert arc.training is training
    # What comes back can be trained through.
    arc.train()(bank.features).sum().backward()
    assert all(p.grad is not None for p in arc.parameters() if p.requires_grad)


def test_an_error_unfolds(accelerator: Accelerator, arc: PeftModel) -> None:
    before = {name: tensor.clone() for name, tensor in arc.state_dict().items()}

    def broken(stored: Tensor) -> Tensor:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        evaluate(arc, Pixels(4), broken, accelerator, fold_from=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in arc.state_dict().items())


def test_what_is_folded_already_stays_so(arc: PeftModel) -> None:
    arc.merge_adapter()
    with folded(arc):
        pass
    assert any(getattr(m, "merged", False) for m in arc.base_model.modules())


def test_what_cant_be_folded_runs_as_it_is(
    accelerator: Accelerator, arc: PeftModel, tiny: Path
) -> None:
    bank = Pixels(8)
    expected = evaluate(arc, bank, lambda x: x, accelerator).loss
    for module in arc.modules():
        if hasattr(module, "unfoldable"):
            module.unfoldable = "it is tested so"
    assert evaluate(arc, bank, lambda x: x, accelerator, fold_from=1).loss == expected
    built = build_backbone(str(tiny), num_classes=4)
    lora = get_peft_model(built.model, LoraConfig(target_modules=["qkv"]))
    with folded(lora):
        assert not any(getattr(m, "merged", False) for m in lora.base_model.modules())


def test_means_over_classes() -> None:
    labels, predictions = torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 0, 0, 3, 0, 1])
    outcome = Evaluation(
        accuracy=4 / 6, loss=0.0, predictions=predictions, labels=labels, confidences=labels + 0.5
    )
    assert outcome.balanced_accuracy == pytest.approx((3 / 4 + 1 / 2) / 2)
    # Class 3 is answered and not there, class 2 neither.
    assert outcome.macro_f1 == pytest.approx((6 / 8 + 2 / 3 + 0) / 3)

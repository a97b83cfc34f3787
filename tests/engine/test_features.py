import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from timm.layers import DropPath
from torch import Tensor, nn

from arcvit.engine.config import EngineConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.features import (
    FeatureBank,
    differs_in_training,
    head_features,
    only_head_learns,
)

ENGINE = EngineConfig(precision="fp32", device="cpu", track=[])


def test_what_reaches_the_head(
    toy: Callable[..., nn.Module], features: Callable[..., FeatureBank]
) -> None:
    model, bank = toy(dropout=0.5), features(10)
    accelerator = make_accelerator(ENGINE, 0)
    before = torch.get_rng_state()
    found = head_features(
        model, model.get_submodule("head"), bank, lambda x: x, accelerator, batch_size=4
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    # Not bit for bit: some CPUs round products of fewer rows otherwise.
    whole = torch.tanh(model.get_submodule("body")(bank.features))
    torch.testing.assert_close(found.features, whole)
    assert torch.equal(found.labels, bank.labels)
    assert not found.features.requires_grad
    # The hook is gone.
    model(bank.features)
    assert len(found) == 10


def test_the_hook_goes_also_after_an_error(
    toy: Callable[..., nn.Module], features: Callable[..., FeatureBank]
) -> None:
    model = toy()

    def broken(stored: Tensor) -> Tensor:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        head_features(
            model,
            model.get_submodule("head"),
            features(4),
            broken,
            make_accelerator(ENGINE, 0),
            batch_size=4,
        )
    assert model.training
    assert not model.get_submodule("head")._forward_pre_hooks


def test_a_bank_hands_out_images_and_batches(features: Callable[..., FeatureBank]) -> None:
    bank = features(5)
    one, label = bank[3]
    batch, labels = bank.__getitems__([3, 0])
    assert torch.equal(batch[0], one)
    assert labels.tolist() == [int(label), int(bank.labels[0])]


def test_only_the_head_learns(toy: Callable[..., nn.Module]) -> None:
    model = toy()
    head = model.get_submodule("head")
    assert not only_head_learns(model, head)
    model.get_submodule("body").requires_grad_(False)
    assert only_head_learns(model, head)
    model.get_parameter("body.bias").requires_grad_(True)
    assert not only_head_learns(model, head)


@pytest.mark.parametrize(
    ("module", "differs"),
    [
        (nn.Linear(2, 2), False),
        (nn.LayerNorm(2), False),
        (nn.Dropout(0.0), False),
        (nn.Dropout(0.1), True),
        (nn.Dropout2d(0.1), True),
        (DropPath(0.0), False),
        (DropPath(0.1), True),
        (nn.BatchNorm2d(2), True),
    ],
)
def test_what_differs_in_training(module: nn.Module, differs: bool) -> None:
    assert differs_in_training(nn.Sequential(nn.Identity(), module)) is differs


def test_drop_path_trains_the_whole_model(
    arcvit: Callable[..., object],
    short_run: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Calibration takes features of the trained model: it must have the real ones.
    importlib.import_module("arcvit.recipe.calibrate")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("features would be without drop path")

    monkeypatch.setattr("arcvit.engine.features.head_features", refuse)
    flags = ("--method=linear", "--drop_path=0.2", f"--out={tmp_path / 'run'}")
    assert arcvit("train", *short_run, *flags).code == 0  # type: ignore[attr-defined]

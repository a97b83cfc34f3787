import sys

import pytest
import torch

from arcvit.core.errors import UserError
from arcvit.engine.config import EngineConfig
from arcvit.engine.device import (
    choose_device,
    make_accelerator,
    peak_memory_mb,
)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(1, 1, "cuda"), (0, 1, "mps"), (0, 0, "cpu"), (1, 0, "cuda")]
)
def test_auto_takes_the_best(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: int, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    assert choose_device("auto") == expected


@pytest.mark.parametrize("asked", ["cuda", "mps"])
def test_a_device_that_isnt_there(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"no {asked} device here: expected --engine.device cpu"):
        choose_device(asked)


@pytest.mark.parametrize(("resumed", "mixed"), [("bf16", "bf16"), ("no", "no"), (None, "no")])
def test_a_resumed_run_keeps_its_precision(
    monkeypatch: pytest.MonkeyPatch, resumed: str | None, mixed: str
) -> None:
    monkeypatch.setattr("arcvit.engine.device.choose_precision", lambda *_, **__: "fp32")
    accelerator = make_accelerator(EngineConfig(device="cpu"), 0, resumed=resumed)
    assert accelerator.mixed_precision == mixed


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(UserError, match=r"--engine\.precision fp16 needs a GPU"):
        make_accelerator(EngineConfig(precision="fp16", device="cpu"), 0)


def test_one_after_the_other_in_one_process() -> None:
    for precision, mixed, accumulate in (
        ("bf16", "bf16", 1),
        ("fp32", "no", 3),
        ("bf16",) * 2 + (2,),
    ):
        engine = EngineConfig(precision=precision, device="cpu", accumulate=accumulate)  # type: ignore[arg-type]
        accelerator = make_accelerator(engine, 0)
        assert accelerator.mixed_precision == mixed
        assert accelerator.gradient_accumulation_steps == accumulate


def test_memory_is_counted() -> None:
    assert peak_memory_mb(torch.device("cpu")) > 10


def test_windows_doesnt_tell_the_memory_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert peak_memory_mb(torch.device("cpu")) is None

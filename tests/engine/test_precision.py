"""Which precision auto stands for."""

import pytest
import torch

from arcvit.engine import precision
from arcvit.engine.precision import block_steps, choose_precision, is_faster_in_bf16

FP32, BF16 = torch.float32, torch.bfloat16


@pytest.mark.parametrize(
    ("fp32", "bf16", "expected"),
    [
        ([2.0], [1.0], True),
        ([1.0], [2.0], False),
        ([1.0], [1.0], False),  # a tie
        ([1.0], [0.97], False),  # noise
        ([9.0, 1.0], [1.0], False),  # the first round makes ready
        ([1.0], [9.0, 0.5], True),
        ([0.1, 0.1, 0.9, 0.9], [0.1, 0.2, 0.2, 0.2], False),  # a slow round of one
        ([3.0, 3.0, 0.1], [3.0, 2.0, 9.0], True),  # no third round after so long
    ],
)
def test_bf16_where_it_is_clearly_faster(monkeypatch, fp32, bf16, expected):
    clock = [0.0]

    def taking(seconds):
        left = list(seconds)

        def step():
            clock[0] += left.pop(0) if len(left) > 1 else left[0]

        return step

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    assert is_faster_in_bf16({FP32: taking(fp32), BF16: taking(bf16)}) is expected


@pytest.mark.parametrize(
    ("device", "backbone", "instructions", "processes", "expected"),
    [
        ("cpu", "demo", "avx512_bf16", "1", "bf16"),
        ("cpu", "demo", "amx_bf16", "1", "bf16"),
        ("cpu", "demo", "avx2", "1", "fp32"),
        ("cpu", None, "amx_bf16", "1", "fp32"),
        ("cpu", "demo", "amx_bf16", "2", "fp32"),  # they might not agree
        ("mps", "demo", "amx_bf16", "1", "fp32"),
    ],
)
def test_it_is_tried_where_it_can_pay(
    monkeypatch, device, backbone, instructions, processes, expected
):
    monkeypatch.setenv("WORLD_SIZE", processes)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: True})
    monkeypatch.setattr(precision, "bf16_pays", lambda *_: True)
    assert choose_precision(device, backbone, batch_size=32) == expected


@pytest.mark.parametrize(
    ("backbone", "shape"),
    [("demo", (2, 65, 192)), ("swin_tiny_patch4_window7_224", (2, 56, 56, 96))],
)
def test_what_is_tried_is_a_block_of_the_model_on_its_own_input(backbone, shape):
    steps = block_steps(backbone, 2, None)
    assert set(steps) == {FP32, BF16}
    (gradient,) = steps[FP32]()
    assert gradient.shape == shape
    assert gradient.abs().max() > 0


def test_a_large_model_is_tried_on_fewer_images(monkeypatch):
    seen = []
    monkeypatch.setattr(precision, "_step", lambda _block, args, *_: seen.append(args[0].shape))
    block_steps("vit_base_patch16_224", 32, None)
    assert seen == [(2, 197, 768)] * 2

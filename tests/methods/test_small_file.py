"""Small files are read whole, and leave nothing behind."""

import gc
import tracemalloc
from pathlib import Path

import torch
from safetensors.torch import save_file

from arcvit.methods.small_file import load_small

TENSORS = {
    "wide": torch.arange(12.0).reshape(3, 4),
    "half": torch.tensor([1.5, -2], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "none": torch.empty(0, 3),
}


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "file")
    read = load_small(tmp_path / "file")
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    save_file({f"layer.{k}": torch.ones(2, 3) for k in range(30)}, tmp_path / "file")

    def held() -> int:
        for _ in range(20):
            load_small(tmp_path / "file")
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = held()
        assert held() - before < 2_000
    finally:
        tracemalloc.stop()

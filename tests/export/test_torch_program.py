import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from arcvit.export.adapted import AdaptedModel
from arcvit.export.torch_program import why_not_exported, write_torch


class Branching(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0] if images.sum() > 0 else images[:, 1]


class OfTwo(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + images[:2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Branching(), "'return images[:, 0] if images.sum() > 0 else images[:, 1]' in test_torch_"),
        (OfTwo(), "You marked batch as dynamic but your code specialized it to be a constant (2)"),
    ],
)
def test_what_cant_be_exported_is_named(model: nn.Module, why: str) -> None:
    batch = {"images": {0: torch.export.Dim("batch")}}
    with pytest.raises(Exception, match=r".") as caught:
        torch.export.export(model, (torch.randn(2, 3, 8, 8),), dynamic_shapes=batch)
    assert why in why_not_exported(caught.value)


@pytest.mark.slow
def test_a_disk_that_takes_no_more(adapted: Callable[..., AdaptedModel], tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(OSError):
            write_torch([adapted(model)], tmp_path / "m.pt2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

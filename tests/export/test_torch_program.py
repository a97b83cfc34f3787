import pytest
import torch
from torch import nn

from arcvit.export.torch_program import why_not_exported


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

"""Adapted models as formats take them, made without a run."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from arcvit.core.task import AdapterTask, TaskBackbone
from arcvit.data.pixels.preset import resolve_preset
from arcvit.export.adapted import AdaptedModel, logits_on

CLASSES = ["a", "b", "c"]
DATA_CONFIG = {
    "input_size": (3, 32, 32),
    "interpolation": "bicubic",
    "mean": (0.5,) * 3,
    "std": (0.25,) * 3,
    "crop_pct": 1.0,
    "crop_mode": "squash",
}
Adapted = Callable[..., AdaptedModel]


@pytest.fixture(scope="session")
def adapted() -> Adapted:
    """``adapted(model, shift=0.0)``: a model of three classes, its logits off by that."""

    def make(
        model: nn.Module, *, shift: float = 0.0, head: str = "head", backbone: str = "tiny"
    ) -> AdaptedModel:
        prep = resolve_preset("model", input_size=(32, 32), data_config=DATA_CONFIG)
        images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        return AdaptedModel(
            name="letters",
            model=model,
            task=AdapterTask(
                labels=CLASSES,
                head=head,
                preprocessing=prep.to_dict(),
                backbone=TaskBackbone(name=backbone),
            ),
            preprocessing=prep,
            images=images,
            photos=(),
            expected=logits_on(model, images) + shift,
        )

    return make

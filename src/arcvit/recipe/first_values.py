"""Values of a method that follow from the training images, set before it learns from them."""

from collections.abc import Iterator

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor

from arcvit.engine.groups import adapter_parameters
from arcvit.recipe.prepare import Workplace
from arcvit.recipe.recipe import Recipe

_IMAGES = 512
_BATCH = 64


def start_from_images(work: Workplace, recipe: Recipe, accelerator: Accelerator) -> None:
    """Let a method look at some training images: the same ones each time, spread over the split.

    Args:
        work: model and images; the model is on the accelerator's device.
        recipe: the method.
        accelerator: whose processes all get the values of the main one.
    """
    if recipe.spec.start is None:
        return
    recipe.spec.start(work.model, recipe.options, _batches(work, accelerator.device))
    if accelerator.num_processes > 1:
        for parameter in adapter_parameters(work.model):
            parameter.data.copy_(broadcast(parameter.data))


def _batches(work: Workplace, device: torch.device) -> Iterator[Tensor]:
    images = work.images.train
    count = min(_IMAGES, len(images))
    chosen = torch.linspace(0, len(images) - 1, count, dtype=torch.float64).long().tolist()
    for first in range(0, count, _BATCH):
        stored, _ = images.__getitems__(chosen[first : first + _BATCH])
        yield work.to_input(stored.to(device))

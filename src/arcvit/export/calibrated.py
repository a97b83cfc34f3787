"""Put a calibration into the head: softmax of what it gives are then calibrated probabilities.

Other software takes softmax, or the sigmoid, of logits as they are.
"""

import dataclasses

import torch
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn

from arcvit.core.task import AdapterTask
from arcvit.export.adapted import TOLERANCE, base_of, logits_on
from arcvit.methods.stored import LOGITS


def calibrate_head(model: nn.Module, task: AdapterTask, images: Tensor) -> AdapterTask:
    """Divide the layer that gives the logits by the temperature, in place.

    Args:
        model: the adapted model.
        task: what its outputs mean.
        images: prepared images, (B, 3, H, W), on which it is seen that the logits follow.

    Returns:
        The task, whose temperature is 1 where that could be done.
    """
    calibration = task.calibration
    layer = _last_layer(base_of(model), task.head)
    if calibration is None or layer is None:
        return task
    kept = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    before = logits_on(model, images) / calibration.temperature
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.div_(calibration.temperature)
    after = logits_on(model, images)
    # Some models go on from there: they average two heads, say.
    largest = max(1.0, before.abs().max().item())
    if not torch.allclose(after, before, rtol=0, atol=TOLERANCE * largest):
        layer.load_state_dict(kept)
        return task
    return dataclasses.replace(task, calibration=dataclasses.replace(calibration, temperature=1.0))


def _last_layer(base: nn.Module, head: str) -> nn.Linear | None:
    """The linear layer of a head that gives the logits; None where none is known."""
    module = base.get_submodule(head)
    if isinstance(module, ModulesToSaveWrapper):
        module = module.modules_to_save[module.active_adapter]
    for path in LOGITS:
        try:
            layer = module.get_submodule(path.removesuffix("."))
        except AttributeError:
            continue
        if isinstance(layer, nn.Linear):
            return layer
    return None

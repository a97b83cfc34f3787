"""Which memory mode a run takes where none is asked for: the fastest that a step fits in."""

import gc

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from arcvit.core.errors import UserError
from arcvit.engine.config import MemoryMode
from arcvit.engine.learner import Learner
from arcvit.engine.memory import recomputing
from arcvit.engine.trial import trial

MODES: tuple[MemoryMode, ...] = ("fast", "lean", "min")
"""From the fastest to the one that keeps least."""


def fastest_that_fits(learner: Learner, accelerator: Accelerator, *, batch_size: int) -> MemoryMode:
    """Try a training step of a whole batch in each mode, the fastest first.

    Nothing is learned, and the random state is as before, so that a run trains the same whichever
    mode it takes. Several processes take the mode that fits all of them.

    Args:
        learner: what is trained, on the accelerator's device, not yet prepared.
        accelerator: device, precision, processes.
        batch_size: images in a forward pass of this process.

    Raises:
        UserError: not even the mode that keeps least fits.
    """
    device, tried = accelerator.device, 0
    images = min(batch_size, len(learner.train))
    while tried < len(MODES) and not _fits(learner, accelerator, MODES[tried], images):
        tried += 1
    if accelerator.num_processes > 1:
        tried = int(accelerator.gather(torch.tensor([tried], device=device)).max())
    if tried == len(MODES):
        raise UserError(
            f"a batch of {images} images doesn't fit {device} in any memory mode: lower"
            " --engine.batch_size, and raise --engine.accumulate to make up for it."
        )
    return MODES[tried]


def _fits(learner: Learner, accelerator: Accelerator, memory: MemoryMode, images: int) -> bool:
    model = learner.model
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        with trial(learner, accelerator, images=images) as step, recomputing(model, memory):
            adam = _room_for_adam(trained)
            step()
            del adam
        return True
    except UserError:  # a model that this mode finds nothing in
        return False
    except torch.OutOfMemoryError:
        pass
    # Outside of the handler, where nothing holds on to the tensors of the step.
    gc.collect()
    torch.cuda.empty_cache()
    return False


def _room_for_adam(trained: list[nn.Parameter]) -> list[Tensor]:
    """What AdamW will keep of each parameter from the first step on."""
    return [torch.empty_like(parameter) for parameter in trained for _ in range(2)]

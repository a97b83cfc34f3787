"""Which memory mode a run takes where none is asked for: the fastest that a step fits in."""

import gc
from collections.abc import Callable

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from arcvit.backbones.logits import logits_of
from arcvit.core.errors import UserError
from arcvit.engine.config import MemoryMode
from arcvit.engine.learner import Learner
from arcvit.engine.memory import recomputing

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
    model, train = learner.model, learner.train
    stored, labels = train.__getitems__(list(range(min(batch_size, len(train)))))
    device = accelerator.device

    def step() -> None:
        pixels = learner.training_input(stored.to(device))
        with accelerator.autocast():
            logits = logits_of(model(pixels))
        F.cross_entropy(logits.float(), labels.to(device)).backward()

    tried = 0
    while tried < len(MODES) and not _fits(model, MODES[tried], step, device):
        tried += 1
    if accelerator.num_processes > 1:
        tried = int(accelerator.gather(torch.tensor([tried], device=device)).max())
    if tried == len(MODES):
        raise UserError(
            f"a batch of {len(labels)} images doesn't fit {device} in any memory mode: lower"
            " --engine.batch_size, and raise --engine.accumulate to make up for it."
        )
    return MODES[tried]


def _fits(
    model: nn.Module, memory: MemoryMode, step: Callable[[], None], device: torch.device
) -> bool:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    was_training = model.training
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(cuda), recomputing(model.train(), memory):
            adam = _room_for_adam(trained)
            step()
            del adam
        return True
    except UserError:  # a model that this mode finds nothing in
        return False
    except torch.OutOfMemoryError:
        pass
    finally:
        model.train(was_training)
        for parameter in trained:
            parameter.grad = None
    # Outside of the handler, where nothing holds on to the tensors of the step.
    gc.collect()
    torch.cuda.empty_cache()
    return False


def _room_for_adam(trained: list[nn.Parameter]) -> list[Tensor]:
    """What AdamW will keep of each parameter from the first step on."""
    return [torch.empty_like(parameter) for parameter in trained for _ in range(2)]
